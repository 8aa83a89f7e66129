/* SPDX-License-Identifier: Apache-2.0 */
/* cygnet-load-test, which `ipsec load-test` runs: options, the files of the daemon that initiates, and the order of phases. */
#include "config.h"

#include "daemon/loadtest/load.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcore/base/addr.h"

#define EXIT_USAGE 2

static void usage(FILE *to)
{
	fputs("Usage: ipsec load-test --remote ADDRESS [OPTION]...\n\n"
	      "Sets up tunnels as many virtual clients, and measures. Nothing is installed on this "
	      "host.\n\n"
	      "  --remote ADDRESS     the gateway under test; --remote-port PORT: not 500 (NAT traversal "
	      "from the start)\n"
	      "  --remote-id ID       its identity (%any)\n"
	      "  --ike-version 1|2    IKEv1 (main mode) or IKEv2 (2)\n"
	      "  --auth psk|rsa|ecdsa how both sides authenticate (psk)\n"
	      "  --psk SECRET         (load-test)\n"
	      "  --pki DIR            authority, gateway's and clients' certificates; what is missing is "
	      "made there\n"
	      "  --id PATTERN         of the clients, %u is their number (client-%u@load.test)\n"
	      "  --xauth-user PATTERN  IKEv1: clients log in besides, with XAUTH\n"
	      "  --xauth-password PATTERN  of the users (load-test)\n"
	      "  --source PREFIX      client N sends from the Nth address of it (one address: all of them "
	      "do); they "
	      "must be this host's\n"
	      "  --local-ts PREFIX    client N proposes the Nth address of it (10.128.0.0/9)\n"
	      "  --remote-ts PREFIX   and this on the other side (10.127.0.0/16)\n"
	      "  --ike, --esp SUITES  proposals (aes128gcm16-prfsha256-x25519, aes128gcm16; "
	      "IKEv1: aes128-sha256-x25519)\n"
	      "  --clients N          how many (the count, or 1000)\n"
	      "  --count N            tunnels to set up (1000)\n"
	      "  --concurrency N      exchanges at a time (16)\n"
	      "  --rate N             instead: begin so many a second, whatever the gateway does\n"
	      "  --duration SECONDS   begin none after this; with --rate, do not wait for what is under way "
	      "either\n"
	      "  --hold SECONDS       keep them before what comes next\n"
	      "  --liveness N         then so many liveness exchanges; --liveness-rate N: so many of them a "
	      "second\n"
	      "  --rekey-child N      then so many rekeyings of CHILD_SAs\n"
	      "  --rekey-ike N        then so many rekeyings of IKE_SAs\n"
	      "  --keep               do not delete them in the end\n"
	      "  --tries N, --timeout MS  repetitions of a request, and the time to the first (5, 1000)\n"
	      "  --reuse-keys N       draw key pairs from a pool of N, to cost less\n"
	      "  --workers N          threads (1)\n"
	      "  --json FILE          the result (standard output); --svg FILE: rate and latency over time\n"
	      "  --quiet              no line a second\n"
	      "  --events             tell a program on standard output when a phase begins or ends, and "
	      "wait for a "
	      "line\n"
	      "  --plugindir DIR, --settings FILE   plugins; further settings of the initiating daemon\n",
	    to);
}

enum opt {
	OPT_REMOTE = 256,
	OPT_REMOTE_PORT,
	OPT_REMOTE_ID,
	OPT_VERSION,
	OPT_XAUTH_USER,
	OPT_XAUTH_PASSWORD,
	OPT_AUTH,
	OPT_PSK,
	OPT_PKI,
	OPT_ID,
	OPT_SOURCE,
	OPT_LOCAL_TS,
	OPT_REMOTE_TS,
	OPT_IKE,
	OPT_ESP,
	OPT_CLIENTS,
	OPT_COUNT,
	OPT_CONCURRENCY,
	OPT_RATE,
	OPT_DURATION,
	OPT_HOLD,
	OPT_LIVENESS,
	OPT_LIVENESS_RATE,
	OPT_REKEY_CHILD,
	OPT_REKEY_IKE,
	OPT_KEEP,
	OPT_TRIES,
	OPT_TIMEOUT,
	OPT_REUSE,
	OPT_WORKERS,
	OPT_JSON,
	OPT_SVG,
	OPT_QUIET,
	OPT_EVENTS,
	OPT_PLUGINDIR,
	OPT_SETTINGS,
	OPT_HELP,
};

static const struct option long_options[] = {{"remote", 1, NULL, OPT_REMOTE},
    {"remote-port", 1, NULL, OPT_REMOTE_PORT}, {"remote-id", 1, NULL, OPT_REMOTE_ID},
    {"ike-version", 1, NULL, OPT_VERSION}, {"xauth-user", 1, NULL, OPT_XAUTH_USER},
    {"xauth-password", 1, NULL, OPT_XAUTH_PASSWORD}, {"auth", 1, NULL, OPT_AUTH}, {"psk", 1, NULL, OPT_PSK},
    {"pki", 1, NULL, OPT_PKI}, {"id", 1, NULL, OPT_ID}, {"source", 1, NULL, OPT_SOURCE},
    {"local-ts", 1, NULL, OPT_LOCAL_TS}, {"remote-ts", 1, NULL, OPT_REMOTE_TS}, {"ike", 1, NULL, OPT_IKE},
    {"esp", 1, NULL, OPT_ESP}, {"clients", 1, NULL, OPT_CLIENTS}, {"count", 1, NULL, OPT_COUNT},
    {"concurrency", 1, NULL, OPT_CONCURRENCY}, {"rate", 1, NULL, OPT_RATE},
    {"duration", 1, NULL, OPT_DURATION}, {"hold", 1, NULL, OPT_HOLD}, {"liveness", 1, NULL, OPT_LIVENESS},
    {"liveness-rate", 1, NULL, OPT_LIVENESS_RATE}, {"rekey-child", 1, NULL, OPT_REKEY_CHILD},
    {"rekey-ike", 1, NULL, OPT_REKEY_IKE}, {"keep", 0, NULL, OPT_KEEP}, {"tries", 1, NULL, OPT_TRIES},
    {"timeout", 1, NULL, OPT_TIMEOUT}, {"reuse-keys", 1, NULL, OPT_REUSE}, {"workers", 1, NULL, OPT_WORKERS},
    {"json", 1, NULL, OPT_JSON}, {"svg", 1, NULL, OPT_SVG}, {"quiet", 0, NULL, OPT_QUIET},
    {"events", 0, NULL, OPT_EVENTS}, {"plugindir", 1, NULL, OPT_PLUGINDIR},
    {"settings", 1, NULL, OPT_SETTINGS}, {"help", 0, NULL, OPT_HELP}, {0}};

static double number(const char *text, double max)
{
	char *end;
	double v = strtod(text, &end);

	if (*end || end == text || !(v >= 0) || v > max) {
		fprintf(stderr, "load-test: '%s' is not a number from 0 to %.0f\n", text, max);
		exit(EXIT_USAGE);
	}
	return v;
}

static void set_number(struct options *o, int c, const char *text)
{
	uint32_t v32 = 0;

	if (c != OPT_RATE && c != OPT_LIVENESS_RATE && c != OPT_DURATION && c != OPT_HOLD)
		v32 = (uint32_t)number(text, c == OPT_REMOTE_PORT ? 65535 : 4e9);
	switch ((enum opt)c) {
	case OPT_REMOTE_PORT:
		o->remote_port = v32;
		break;
	case OPT_VERSION:
		o->version = v32;
		break;
	case OPT_CLIENTS:
		o->clients = v32;
		break;
	case OPT_COUNT:
		o->count = v32;
		break;
	case OPT_CONCURRENCY:
		o->concurrency = v32;
		break;
	case OPT_LIVENESS:
		o->phase[PHASE_LIVENESS] = v32;
		break;
	case OPT_REKEY_CHILD:
		o->phase[PHASE_REKEY_CHILD] = v32;
		break;
	case OPT_REKEY_IKE:
		o->phase[PHASE_REKEY_IKE] = v32;
		break;
	case OPT_TRIES:
		o->tries = v32;
		break;
	case OPT_TIMEOUT:
		o->timeout_ms = v32;
		break;
	case OPT_REUSE:
		o->reuse_keys = v32;
		break;
	case OPT_WORKERS:
		o->workers = v32;
		break;
	case OPT_RATE:
		o->rate = number(text, 1e6);
		break;
	case OPT_LIVENESS_RATE:
		o->liveness_rate = number(text, 1e6);
		break;
	case OPT_DURATION:
		o->duration_s = number(text, 1e6);
		break;
	case OPT_HOLD:
		o->hold_s = number(text, 1e6);
		break;
	default:
		break;
	}
}

static void set_text(struct options *o, int c, const char *text)
{
	switch ((enum opt)c) {
	case OPT_REMOTE:
		o->remote = text;
		break;
	case OPT_REMOTE_ID:
		o->remote_id = text;
		break;
	case OPT_XAUTH_USER:
		o->xauth_user = text;
		break;
	case OPT_XAUTH_PASSWORD:
		o->xauth_password = text;
		break;
	case OPT_AUTH:
		o->auth = text;
		break;
	case OPT_PSK:
		o->psk = text;
		break;
	case OPT_PKI:
		o->pki = text;
		break;
	case OPT_ID:
		o->local_id = text;
		break;
	case OPT_SOURCE:
		o->source = text;
		break;
	case OPT_LOCAL_TS:
		o->local_ts = text;
		break;
	case OPT_REMOTE_TS:
		o->remote_ts = text;
		break;
	case OPT_IKE:
		o->ike = text;
		break;
	case OPT_ESP:
		o->esp = text;
		break;
	case OPT_JSON:
		o->json = text;
		break;
	case OPT_SVG:
		o->svg = text;
		break;
	case OPT_PLUGINDIR:
		o->plugindir = text;
		break;
	case OPT_SETTINGS:
		o->settings = text;
		break;
	case OPT_KEEP:
		o->keep = true;
		break;
	case OPT_QUIET:
		o->quiet = true;
		break;
	case OPT_EVENTS:
		o->events = true;
		break;
	default:
		set_number(o, c, text);
		break;
	}
}

/*
 * The nth address of a prefix ("10.99.0.0/16"), n counts from 1; of a single address ("10.99.0.1") always that one. False: it is no
 * prefix, or has no nth address.
 */
static bool nth(const char *prefix, uint32_t n, char out[ADDR_STR_MAX])
{
	char text[64], *end;
	size_t len = strcspn(prefix, "/");
	struct cy_addr a;
	uint64_t carry = n;
	unsigned long bits, host;

	if (len >= sizeof(text))
		return false;
	memcpy(text, prefix, len);
	text[len] = '\0';
	if (addr_parse(text, &a))
		return false;
	bits = 8 * cy_addr_len(&a);
	if (prefix[len] == '/') {
		host = bits - strtoul(prefix + len + 1, &end, 10);
		if (!prefix[len + 1] || *end || host > bits)
			return false;
	} else {
		host = 0;
	}
	if (host == 0)
		carry = 0;
	else if (host < 32 && n >= 1u << host)
		return false;
	for (size_t i = cy_addr_len(&a); i-- > 0 && carry; carry >>= 8) {
		carry += a.ip[i];
		a.ip[i] = (uint8_t)carry;
	}
	(void)addr_str(&a, out);
	return true;
}

static void parse(int argc, char **argv, struct options *o)
{
	char addr[ADDR_STR_MAX];
	int c;

	*o = (struct options){.remote_id = "%any",
	    .auth = "psk",
	    .version = 2,
	    .psk = "load-test",
	    .xauth_password = "load-test",
	    .local_id = "client-%u@load.test",
	    .local_ts = "10.128.0.0/9",
	    .remote_ts = "10.127.0.0/16",
	    .esp = "aes128gcm16",
	    .count = 1000,
	    .concurrency = 16,
	    .tries = 5,
	    .timeout_ms = 1000,
	    .workers = 1};
	while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (c == 'h' || c == OPT_HELP) {
			usage(stdout);
			exit(0);
		}
		if (c == '?')
			exit(EXIT_USAGE);
		set_text(o, c, optarg);
	}
	if (optind < argc || !o->remote || !o->concurrency || !o->count) {
		usage(stderr);
		exit(EXIT_USAGE);
	}
	if (o->version != 1 && o->version != 2) {
		fprintf(stderr, "load-test: --ike-version is 1 or 2\n");
		exit(EXIT_USAGE);
	}
	if (o->xauth_user && o->version != 1) {
		fprintf(stderr, "load-test: --xauth-user needs --ike-version 1\n");
		exit(EXIT_USAGE);
	}
	if (o->phase[PHASE_REKEY_IKE] && o->version == 1) {
		fprintf(stderr, "load-test: IKEv1 has no exchange for --rekey-ike\n");
		exit(EXIT_USAGE);
	}
	if (!o->ike)
		o->ike = o->version == 1 ? "aes128-sha256-x25519" : "aes128gcm16-prfsha256-x25519";
	if (!o->clients)
		o->clients = o->count < 100000 ? (uint32_t)o->count : 100000;
	if (o->source && !nth(o->source, o->clients, addr)) {
		fprintf(stderr, "load-test: --source %s is no prefix with addresses for %u clients\n",
		    o->source, o->clients);
		exit(EXIT_USAGE);
	}
	if (!nth(o->local_ts, o->clients, addr)) {
		fprintf(stderr, "load-test: --local-ts %s is no prefix with addresses for %u clients\n",
		    o->local_ts, o->clients);
		exit(EXIT_USAGE);
	}
	if (strcmp(o->auth, "psk") != 0 &&
	    (!o->pki || (strcmp(o->auth, "rsa") != 0 && strcmp(o->auth, "ecdsa") != 0))) {
		fprintf(stderr, "load-test: --auth is psk, rsa or ecdsa, and certificates need --pki DIR\n");
		exit(EXIT_USAGE);
	}
}

/* --- the files of the daemon ------------------------------------------------------------------------------------------ */

static bool write_conf(const struct options *o, FILE *f)
{
	char id[256], addr[ADDR_STR_MAX];

	fprintf(f, "config setup\n\tdialect=strongswan\n\tuniqueids=never\n\n");
	if (o->pki)
		fprintf(f, "ca load\n\tcacert=%s/ca.pem\n\tauto=add\n\n", o->pki);
	fprintf(f,
	    "conn "
	    "%%default\n\tkeyexchange=ikev%u\n\tauto=add\n\tright=%s\n\trightid=%s\n\tike=%s!\n\tesp=%s!\n"
	    "\trightsubnet=%s\n\tkeyingtries=1\n\treauth=no\n\tmobike=no\n\tikelifetime=24h\n\tlifetime=24h\n"
	    "\tleftauth=%s\n\trightauth=%s\n",
	    o->version, o->remote, o->remote_id, o->ike, o->esp, o->remote_ts, o->pki ? "pubkey" : "psk",
	    o->pki ? "pubkey" : "psk");
	if (o->remote_port)
		fprintf(f, "\trightikeport=%u\n", o->remote_port);
	for (uint32_t i = 1; i <= o->clients; i++) {
		pattern_fill(o->local_id, i, id, sizeof(id));
		if (o->source && !nth(o->source, i, addr))
			return false;
		fprintf(f, "\nconn c%u\n\tleft=%s\n\tleftid=%s\n", i, o->source ? addr : "%any", id);
		if (o->xauth_user) {
			pattern_fill(o->xauth_user, i, id, sizeof(id));
			fprintf(f, "\tleftauth2=xauth\n\txauth_identity=%s\n", id);
		}
		if (o->pki)
			fprintf(f, "\tleftcert=%s/client-%u.pem\n\tleftsendcert=always\n", o->pki, i);
		if (!nth(o->local_ts, i, addr))
			return false;
		fprintf(f, "\tleftsubnet=%s/%d\n", addr, strchr(addr, ':') ? 128 : 32);
	}
	return true;
}

static void write_secrets(const struct options *o, FILE *f)
{
	char user[256], password[256];

	if (o->pki)
		fprintf(f, ": %s %s/client.key\n", strcmp(o->auth, "rsa") == 0 ? "RSA" : "ECDSA", o->pki);
	else
		fprintf(f, ": PSK \"%s\"\n", o->psk);
	for (uint32_t i = 1; o->xauth_user && i <= o->clients; i++) {
		pattern_fill(o->xauth_user, i, user, sizeof(user));
		pattern_fill(o->xauth_password, i, password, sizeof(password));
		fprintf(f, "%s : XAUTH \"%s\"\n", user, password);
		if (!strstr(o->xauth_user, "%u"))
			break; /* one for all */
	}
}

static FILE *create(const char *dir, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	umask(077); /* there is a secret in it */
	return fopen(path, "we");
}

static bool write_files(const struct options *o, const char *dir)
{
	FILE *conf = create(dir, "ipsec.conf"), *secrets = create(dir, "ipsec.secrets"),
	     *settings = create(dir, "cygnet.conf"), *more = o->settings ? fopen(o->settings, "re") : NULL;
	bool ok = conf && secrets && settings && (more || !o->settings) && write_conf(o, conf);
	int c;

	if (ok) {
		write_secrets(o, secrets);
		fprintf(settings,
		    "kernel = kernel-null\nsocket = socket-default\n"
		    "reuse_ikesa = no\nretransmit_tries = %u\nretransmit_timeout = %ums\n"
		    "log {\n\tdefault = error\n}\nworkers = %u\nsocket_rcvbuf = 16M\n",
		    o->tries, o->timeout_ms, o->workers);
		if (o->reuse_keys)
			fprintf(settings,
			    "crypto_prefer = load-tester openssl gmp\nplugins {\n\tload-tester {\n"
			    "\t\treuse_keys = %u\n\t}\n}\n",
			    o->reuse_keys);
		while (more && (c = fgetc(more)) != EOF)
			fputc(c, settings);
	}
	ok = (!conf || fclose(conf) == 0) && ok;
	ok = (!secrets || fclose(secrets) == 0) && ok;
	ok = (!settings || fclose(settings) == 0) && ok;
	if (more)
		fclose(more);
	return ok;
}

static void remove_dir(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			(void)unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	(void)rmdir(dir);
}

static void log_line(void *user, const struct log_line *line)
{
	(void)user;
	fprintf(stderr, "load-test: %s\n", line->text);
}

/* --- running ------------------------------------------------------------------------------------------------------------ */

static void run_phases(struct load *l)
{
	const struct options *o = l->o;

	load_phase(l, PHASE_SETUP, o->count);
	if (o->hold_s > 0) {
		report_event(l, "hold", "begin");
		(void)usleep((useconds_t)(o->hold_s * 1e6));
		report_event(l, "hold", "end");
	}
	for (enum phase_kind k = PHASE_LIVENESS; k < PHASE_DELETE; k++)
		if (o->phase[k])
			load_phase(l, k, o->phase[k]);
	if (!o->keep)
		load_phase(l, PHASE_DELETE, UINT32_MAX);
}

static int run(const struct options *o, const char *dir, char *why, size_t why_cap)
{
	char conf[PATH_MAX], secrets[PATH_MAX], settings[PATH_MAX];
	struct daemon_options d_o = {.conf = conf,
	    .secrets = secrets,
	    .settings = settings,
	    .rundir = dir,
	    .plugindir = o->plugindir,
	    .foreground = true,
	    .no_control = true,
	    .log = log_line};
	struct daemon *d = NULL;
	struct load l;
	int status = 1;
	enum cy_err e;

	snprintf(conf, sizeof(conf), "%s/ipsec.conf", dir);
	snprintf(secrets, sizeof(secrets), "%s/ipsec.secrets", dir);
	snprintf(settings, sizeof(settings), "%s/cygnet.conf", dir);
	if (!write_files(o, dir)) {
		snprintf(why, why_cap, "the files of the test cannot be written to %s", dir);
		return 1;
	}
	e = daemon_new(&d_o, why, why_cap, &d);
	if (!e)
		e = daemon_start(d, why, why_cap);
	if (e) {
		daemon_free(d);
		return 1;
	}
	*why = '\0';
	if (load_init(&l, o, d) == CY_OK) {
		run_phases(&l);
		status = report_end(&l);
	} else {
		snprintf(why, why_cap, "no client could be made");
	}
	if (o->keep) {
		fflush(stdout);
		remove_dir(dir);
		_exit(status); /* no deletes */
	}
	daemon_stop(d);
	load_fini(&l);
	daemon_free(d);
	return status;
}

int main(int argc, char **argv)
{
	char dir[] = "/tmp/cygnet-load-XXXXXX", why[512] = "";
	struct options o;
	int status;

	parse(argc, argv, &o);
	if (o.pki && strcmp(o.auth, "psk") == 0)
		o.pki = NULL;
	if (o.pki && !pki_make(o.pki, o.auth, o.remote_id, o.local_id, o.clients, why, sizeof(why))) {
		fprintf(stderr, "load-test: %s\n", why);
		return 1;
	}
	if (!mkdtemp(dir)) {
		fprintf(stderr, "load-test: %s: %s\n", dir, strerror(errno));
		return 1;
	}
	status = run(&o, dir, why, sizeof(why));
	if (*why)
		fprintf(stderr, "load-test: %s\n", why);
	remove_dir(dir);
	return status;
}
