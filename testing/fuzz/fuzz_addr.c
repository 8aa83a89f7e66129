/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, ranges and traffic selectors as text: what is accepted prints, and reads back as the same. */

#include <stdlib.h>

#include "libcore/base/addr.h"
#include "libcore/base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void try_addr(const char *text)
{
	char out[ADDR_STR_MAX];
	struct cy_addr a, again;

	if (addr_parse(text, &a) == CY_OK) {
		must(addr_parse(addr_str(&a, out), &again) == CY_OK);
		must(cy_addr_eq(&a, &again) && a.scope == again.scope);
	}
	if (addr_parse_port(text, &a) == CY_OK)
		must(strlen(addr_port_str(&a, out)) < ADDR_STR_MAX - 1);
}

static void try_range(const char *text)
{
	char out[TS_STR_MAX];
	struct addr_range r, again;

	if (range_parse(text, &r) != CY_OK)
		return;
	must(range_has(&r, &r.lo) && range_has(&r, &r.hi) && range_count(&r) > 0);
	must(range_parse(range_str(&r, out), &again) == CY_OK);
	must(cy_addr_ip_eq(&r.lo, &again.lo) && cy_addr_ip_eq(&r.hi, &again.hi));
}

static void try_ts(const char *text)
{
	static const char *const others[] = {
	    "0.0.0.0/0", "::/0", "10.0.0.0/8[tcp/80-90]", "10.1.1.1[udp/%opaque]"};
	char out[TS_STR_MAX];
	struct cy_ts a, again, other, both, turned;

	if (ts_parse(text, &a) != CY_OK)
		return;
	must(ts_parse(ts_str(&a, out), &again) == CY_OK);
	must(ts_eq(&a, &again) && ts_contains(&a, &again));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		bool met;

		must(ts_parse(others[i], &other) == CY_OK);
		met = ts_intersect(&a, &other, &both);
		must(met == ts_intersect(&other, &a, &turned));
		if (met)
			must(ts_eq(&both, &turned) && ts_contains(&a, &both) && ts_contains(&other, &both));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = text_dup(data, size);

	if (!text)
		return 0;
	try_addr(text);
	try_range(text);
	try_ts(text);
	free(text);
	return 0;
}
