/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a large ipsec.conf takes: bench_conf_load [CONNECTIONS [FILE]]. Prints CPU seconds to load it, and to find that
 * nothing changed in a reload. The aim is 10,000 connections in less than a second.
 */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "libcore/conf/conf.h"

static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void write_conns(FILE *f, long n)
{
	fputs("config setup\n\tdialect=strongswan\nconn %default\n\tkeyexchange=ikev2\n\tauthby=secret\n"
	      "\tike=aes256-sha256-modp2048!\n\tesp=aes256gcm16-x25519!\n\tdpdaction=restart\n"
	      "conn hub\n\tleft=192.0.2.1\n\tleftid=@hub.example.org\n\tleftsubnet=10.0.0.0/8\n",
	    f);
	for (long i = 0; i < n; i++)
		fprintf(f,
		    "conn site-%ld\n\talso=hub\n\tright=198.%ld.%ld.%ld\n\trightid=@site-%ld.example.org\n"
		    "\trightsubnet=172.%ld.%ld.0/24\n\tikelifetime=4h\n\tlifetime=1h\n\tauto=add\n",
		    i, 18 + i / 62500 % 2, i / 250 % 250, i % 250, i, 16 + i / 250 % 16, i % 250);
}

static void problem(void *user, const struct conf_problem *p)
{
	fprintf(stderr, "%s:%u: %s\n", p->file, p->line, p->text);
}

static void count_same(void *user, enum conf_change what, struct conn *before, struct conn *after)
{
	*(size_t *)user += what == CONF_SAME;
}

int main(int argc, char **argv)
{
	long n = argc > 1 ? atol(argv[1]) : 10000;
	struct conf *c = NULL, *again = NULL;
	double start, loaded, reloaded;
	size_t len = 0, same = 0;
	char *text = NULL;
	enum cy_err e;
	FILE *f = open_memstream(&text, &len);

	if (!f || n < 1)
		return EXIT_FAILURE;
	write_conns(f, n);
	fclose(f);
	start = cpu_s();
	e = argc > 2 ? conf_load(argv[2], problem, NULL, &c)
	             : conf_load_text(text, len, "generated", problem, NULL, &c);
	loaded = cpu_s();
	if (e)
		return EXIT_FAILURE;
	e = argc > 2 ? conf_load(argv[2], problem, NULL, &again)
	             : conf_load_text(text, len, "generated", problem, NULL, &again);
	if (e)
		return EXIT_FAILURE;
	conf_diff(c, again, count_same, &same);
	reloaded = cpu_s();
	printf("%zu connections: loaded in %.3f s of CPU, reloaded in %.3f s (%zu unchanged)\n", c->n_conns,
	    loaded - start, reloaded - loaded, same);
	e = same == c->n_conns ? CY_OK : CY_E_BUG;
	conf_unref(c);
	conf_unref(again);
	free(text);
	return e ? EXIT_FAILURE : EXIT_SUCCESS;
}
