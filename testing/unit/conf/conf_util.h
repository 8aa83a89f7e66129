/* SPDX-License-Identifier: Apache-2.0 */
/* Loading small configurations from text, and what was said of them. One thread. */
#ifndef CONF_UTIL_H
#define CONF_UTIL_H

#include "libcore/conf/conf.h"

struct told {
	char text[16384]; /* "LINE LEVEL TEXT; HINT\n", one a problem */
	size_t n, count;
};

void told_add(void *user, const struct conf_problem *p);
/* Loads text; fails the test when it cannot be loaded at all. */
struct conf *load_text(const char *text, struct told *told);
/* One connection "a" in strongSwan's or libreswan's dialect from its keys, separated by ';'. NULL when it is refused. */
struct conn *ss_conn(const char *keys, struct told *told);
struct conn *ls_conn(const char *keys, struct told *told);

#endif
