/* SPDX-License-Identifier: Apache-2.0 */

#include "journal.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/uio.h>
#include <syslog.h>
#include <systemd/sd-journal.h>

struct fields {
	char *text;
	size_t left, n;
	struct iovec *out;
};

__attribute__((format(printf, 2, 3))) static void add(struct fields *f, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(f->text, f->left, fmt, ap);
	va_end(ap);
	/* one that is cut is still better than none */
	if (n < 0 || f->left < 2)
		return;
	if ((size_t)n >= f->left)
		n = (int)f->left - 1;
	f->out[f->n++] = (struct iovec){f->text, (size_t)n};
	f->text += n;
	f->left -= (size_t)n;
}

static int priority(uint32_t level)
{
	static const int of[] = {LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG, LOG_DEBUG};

	return level < sizeof(of) / sizeof(of[0]) ? of[level] : LOG_DEBUG;
}

size_t journal_fields(const struct cy_log_line *l, char *text, size_t cap, struct iovec *out)
{
	struct fields f = {text, cap, 0, out};

	add(&f, "PRIORITY=%d", priority(l->level));
	add(&f, "SYSLOG_IDENTIFIER=cygnetd");
	add(&f, "CYGNET_GROUP=%s", l->group);
	add(&f, "CYGNET_THREAD=%u", l->thread);
	if (*l->conn)
		add(&f, "CYGNET_CONNECTION=%s", l->conn);
	if (l->ike_id)
		add(&f, "CYGNET_IKE_ID=%llu", (unsigned long long)l->ike_id);
	if (*l->user)
		add(&f, "CYGNET_USER=%s", l->user);
	/* as in the other logs, so that a line reads the same wherever it is */
	if (*l->conn)
		add(&f, "MESSAGE=[%s] <%s|%llu> %s", l->group, l->conn, (unsigned long long)l->ike_id,
		    l->text);
	else
		add(&f, "MESSAGE=[%s] %s", l->group, l->text);
	return f.n;
}

void journal_line(void *plugin, const struct cy_log_line *line)
{
	struct iovec iov[JOURNAL_FIELDS];
	char text[8192];

	sd_journal_sendv(iov, (int)journal_fields(line, text, sizeof(text), iov));
}
