/* SPDX-License-Identifier: Apache-2.0 */
#include <time.h>

#include "ipsec/ipsec.h"

static void date(const char *title, int64_t when)
{
	char text[32] = "";
	time_t t = (time_t)when;
	struct tm tm;

	if (gmtime_r(&t, &tm))
		strftime(text, sizeof(text), "%F %T UTC", &tm);
	printf("  %s %s\n", title, text);
}

static void on_data(void *user, json_t *data)
{
	const char *name;
	json_t *v;
	int n = 0;

	(void)user;
	printf("Secrets:");
	json_object_foreach(json_object_get(data, "secrets"), name, v) if (json_integer_value(v))
	    printf("%s %lld %s", n++ ? "," : "", (long long)json_integer_value(v), name);
	puts(n ? "" : " none");
}

static void on_item(void *user, const char *list, json_t *data)
{
	int64_t now = time(NULL);

	(void)user;
	(void)list;
	printf("\n%s\n", get_str(data, "subject"));
	printf("  issuer     %s\n  serial     %s\n", get_str(data, "issuer"), get_str(data, "serial"));
	date("not before", get_int(data, "not_before"));
	date("not after ", get_int(data, "not_after"));
	if (now < get_int(data, "not_before") || now > get_int(data, "not_after"))
		puts("  NOT VALID NOW");
	printf("  key        %s %lld bits%s\n", get_str(data, "key_type"),
	    (long long)get_int(data, "key_bits"),
	    get_bool(data, "private_key") ? ", we have the private key" : "");
	if (get_bool(data, "ca"))
		puts("  trusted CA");
	if (json_array_size(json_object_get(data, "sans")))
		print_list("  ", "names     ", json_object_get(data, "sans"));
}

static int run(const struct options *o)
{
	static const char *const lists[] = {"certificates", NULL};
	struct call c = {.cmd = "listcerts", .data = on_data, .item = on_item};

	return call_list(o, &c, lists);
}

const struct verb verb_listcerts = {
    .name = "listcerts",
    .args = "",
    .summary = "Certificates and how many secrets are loaded",
    .run = run,
};
