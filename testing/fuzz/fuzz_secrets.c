/* SPDX-License-Identifier: Apache-2.0 */
/* ipsec.secrets: whatever stands in it, what is loaded can be looked up, and complaints are counted lines. */

#include <stdlib.h>

#include "libcore/base/addr.h"
#include "libcore/cred/cred.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void note(void *user, enum cy_level level, const char *text)
{
	must(level <= CY_LOG_TRACE && strlen(text) < 1024 && !strchr(text, '\n'));
	++*(size_t *)user;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {
	    "%any", "@a", "a@b", "192.0.2.1", "::1", "@*.example.org", "C=CH, CN=x"};
	struct cy_addr addr = {.family = AF_INET, .ip = {192, 0, 2, 1}};
	size_t complaints = 0;
	struct cy_slice s;
	struct creds *c;
	enum cy_err e;

	/* without a plugin that reads keys no file is opened, and includes are refused */
	if (creds_new(NULL, NULL, NULL, &c) != CY_OK)
		return 0;
	e = creds_load_secrets_text(c, cy_slice(data, size), "f", note, &complaints);
	must(e == CY_OK || complaints > 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct ident id;
		if (ident_parse(names[i], &id) != CY_OK)
			abort();
		if (creds_find_psk(c, &id, &id, &addr, NULL, &s))
			must(s.n > 0 && s.p);
		if (creds_find_psk(c, NULL, &id, NULL, &addr, &s))
			must(creds_count(c, CRED_PSK) > 0);
		if (creds_find_password(c, CRED_XAUTH, &id, &s))
			must(creds_count(c, CRED_XAUTH) + creds_count(c, CRED_EAP) > 0);
		ident_fini(&id);
	}
	creds_unref(c);
	return 0;
}
