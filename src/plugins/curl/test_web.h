/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests: a web server on 127.0.0.1 with a thread for each connection. A path says how it answers; N is a number of bytes:
 *
 *	/ok/N, /chunked/N       properly; bytes as in web_byte()
 *	/status/N               with that status and a text
 *	/to/URL, /loop          a redirect; the latter to itself
 *	/echo                   with the type and the body of what was posted
 *	/cookie                 sets one, and redirects to /cookies, which answers with those it was sent
 *	/never, /drip           holds the request, without an answer or with a byte now and then
 *	/short, /close          ends in the midst of the answer, or before it
 *	/huge, /endless         says it has 10 GB, or does not end; /endless404 with that status
 *	/headers                headers without an end
 *
 * Any thread.
 */
#ifndef CURL_TEST_WEB_H
#define CURL_TEST_WEB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct web;

struct web *web_start(void);
void web_stop(struct web *w); /* closes all */
uint16_t web_port(const struct web *w);
/* Requests that it holds (/never, /drip), and most of these at once since the start. Waits for n of them; false: not within 60 s. */
bool web_wait_holding(struct web *w, unsigned n);
unsigned web_most_holding(struct web *w);

static inline uint8_t web_byte(size_t i)
{
	return (uint8_t)(i * 7 + i / 251);
}

#endif
