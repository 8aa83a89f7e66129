/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <time.h>

#include "ipsec/ipsec.h"

static void date(const char *title, int64_t when)
{
	char text[32] = "not said";
	time_t t = (time_t)when;
	struct tm tm;

	if (when && gmtime_r(&t, &tm))
		strftime(text, sizeof(text), "%F %T UTC", &tm);
	printf("  %s %s\n", title, text);
}

static void on_item(void *user, const char *list, json_t *data)
{
	bool ocsp = strcmp(get_str(data, "kind"), "ocsp") == 0;

	(void)user;
	(void)list;
	printf("%s %s\n", ocsp ? "OCSP" : "CRL", get_str(data, "url"));
	printf("  issuer      %s\n", get_str(data, "issuer"));
	if (ocsp)
		printf("  certificate %s\n", get_str(data, "subject"));
	if (get_bool(data, "loaded")) {
		date("this update", get_int(data, "this_update"));
		date("next update", get_int(data, "next_update"));
		if (get_int(data, "next_update") && time(NULL) > get_int(data, "next_update"))
			puts("  OUTDATED");
	}
	if (ocsp && get_bool(data, "loaded"))
		printf("  says        %s\n", get_str(data, "status"));
	else if (get_bool(data, "loaded"))
		printf("  revoked     %lld certificates, %lld bytes\n", (long long)get_int(data, "revoked"),
		    (long long)get_int(data, "bytes"));
	if (get_bool(data, "fetching"))
		puts("  is being got");
	if (get_int(data, "failures"))
		printf("  failed      %lld times: %s\n", (long long)get_int(data, "failures"),
		    get_str(data, "error"));
}

static int run(const struct options *o)
{
	static const char *const lists[] = {"crls", NULL};
	struct call c = {.cmd = "listcrls", .item = on_item};

	return call_list(o, &c, lists);
}

const struct verb verb_listcrls = {
    .name = "listcrls",
    .args = "",
    .summary = "CRLs and OCSP responses that are kept, and what failed",
    .run = run,
};

static void on_data(void *user, json_t *data)
{
	(void)user;
	printf("%lld CRLs and OCSP responses forgotten\n", (long long)get_int(data, "purged"));
}

static int purge(const struct options *o)
{
	struct call c = {.cmd = "purgecrls", .data = on_data};

	return call_run(o, &c);
}

const struct verb verb_purgecrls = {
    .name = "purgecrls",
    .args = "",
    .summary = "Forget what servers said of revocation, so that it is asked again",
    .run = purge,
};
