/* SPDX-License-Identifier: Apache-2.0 */
/* Settings, read once into plain values. */
#include <stdlib.h>
#include <unistd.h>

#include "daemon/run_impl.h"
#include "libcore/base/names.h"
#include "libcore/conf/settings.h"

#define SPI_LEAST 65535u

static uint64_t ns(const struct settings *s, const char *key)
{
	return settings_ms(s, key) * NS_PER_MS;
}

static uint32_t u32(const struct settings *s, const char *key)
{
	int64_t v = settings_int(s, key);

	return v < 0 ? 0 : v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

/* "1.8" to 180: the schema has checked that it is a number */
static uint32_t percent(const struct settings *s, const char *key)
{
	const char *text = settings_str(s, key);
	double v = text ? strtod(text, NULL) : 0;

	return v <= 0 ? 0 : v > 1000 ? 100000 : (uint32_t)(v * 100 + 0.5);
}

/* Numbers of CPUs go up to this one, whether they are all running or not. */
static uint32_t cpus(const struct daemon *d)
{
	long n = d->env->simulated ? 4 : sysconf(_SC_NPROCESSORS_CONF);

	return n < 1 ? 1 : (uint32_t)n;
}

void tune_from_settings(struct daemon *d)
{
	const struct settings *s = d->settings;

	d->tune = (struct tuning){
	    .retransmit_tries = u32(s, "retransmit_tries"),
	    .retransmit_base_pct = percent(s, "retransmit_base"),
	    .retransmit_jitter_pct = u32(s, "retransmit_jitter"),
	    .retransmit_timeout_ns = ns(s, "retransmit_timeout"),
	    .retransmit_limit_ns = ns(s, "retransmit_limit"),
	    .half_open_timeout_ns = ns(s, "half_open_timeout"),
	    .keepalive_ns = ns(s, "keepalive_interval"),
	    .cookie_threshold = u32(s, "cookie_threshold"),
	    .cookie_threshold_total = u32(s, "cookie_threshold_total"),
	    .block_threshold = u32(s, "block_threshold"),
	    .puzzle_threshold = u32(s, "puzzle_threshold"),
	    .puzzle_bits = (uint8_t)u32(s, "puzzle_difficulty"),
	    .puzzle_bits_max = (uint8_t)u32(s, "puzzle_difficulty_max"),
	    .init_queue_ns = ns(s, "init_queue_time"),
	    .receive_queue = settings_bytes(s, "receive_queue"),
	    .fragment_memory = settings_bytes(s, "fragment_memory"),
	    .fragment_timeout_ns = ns(s, "fragment_timeout"),
	    .authorize_timeout_ns = ns(s, "authorize_timeout"),
	    .authorize_queue = u32(s, "authorize_queue"),
	    .crash_detection = settings_bool(s, "crash_detection"),
	    .ikev1_commit = settings_bool(s, "ikev1_commit"),
	    .ikev1_phase2_delay_ns = ns(s, "ikev1_phase2_delay"),
	    .half_open_limit = u32(s, "init_limit_half_open"),
	    .ike_sa_limit = u32(s, "ikesa_limit"),
	    .fragment_size = u32(s, "fragment_size"),
	    .max_packet = u32(s, "max_packet"),
	    .replay_window = u32(s, "replay_window"),
	    .inbox_max = u32(s, "inbox_max"),
	    .ike_dscp = (uint8_t)u32(s, "ike_dscp"),
	    .install_routes = settings_bool(s, "install_routes"),
	    .install_vips = settings_bool(s, "install_virtual_ip"),
	    .send_vendor_id = settings_bool(s, "send_vendor_id"),
	    .fetch_timeout_ns = ns(s, "fetch_timeout"),
	    .fetch_retry_ns = ns(s, "fetch_retry"),
	    .crl_size_max = settings_bytes(s, "crl_size_max"),
	    .revocation_timeout_ns = ns(s, "revocation_timeout"),
	    .revocation_queue = u32(s, "revocation_queue"),
	    .revocation_cache = settings_bytes(s, "revocation_cache"),
	    .revocation_cache_entries = u32(s, "revocation_cache_entries"),
	    .reuse_ike_sa = settings_bool(s, "reuse_ikesa"),
	    .port = (uint16_t)u32(s, "port"),
	    .port_natt = (uint16_t)u32(s, "port_nat_t"),
	    .socket_rcvbuf = (uint32_t)settings_bytes(s, "socket_rcvbuf"),
	    .socket_sndbuf = (uint32_t)settings_bytes(s, "socket_sndbuf"),
	    .spi_min = u32(s, "spi_min"),
	    .spi_max = u32(s, "spi_max"),
	    .dpd_delay_s = (uint32_t)(settings_ms(s, "dpd_delay") / 1000),
	    .socket_mark = u32(s, "socket_mark"),
	    .cpus = cpus(d),
	    .ipv4 = settings_bool(s, "ipv4"),
	    .ipv6 = settings_bool(s, "ipv6"),
	    .xauth_deadline_ns = ns(s, "xauth_deadline"),
	    .xauth_limit = u32(s, "xauth_limit"),
	    .xauth_user_limit = u32(s, "xauth_user_limit"),
	    .xauth_address_limit = u32(s, "xauth_address_limit"),
	    .xauth_user_failures = u32(s, "xauth_user_failures"),
	    .xauth_address_failures = u32(s, "xauth_address_failures"),
	    .xauth_lockout_ns = ns(s, "xauth_lockout"),
	    .xauth_sessions = u32(s, "xauth_sessions"),
	};
	/* the number of a worker must fit in between (net_esp_spi_new) */
	if (d->tune.spi_max < d->tune.spi_min || d->tune.spi_max - d->tune.spi_min < SPI_LEAST) {
		LOGF(d->log, LOG_CFG, CY_LOG_ERROR, NULL,
		    "spi_min and spi_max leave fewer than %u numbers: 0xc0000000 to 0xcfffffff are used",
		    SPI_LEAST);
		d->tune.spi_min = 0xc0000000u;
		d->tune.spi_max = 0xcfffffffu;
	}
}

static const struct name level_names[] = {{CY_LOG_ERROR, "error"}, {CY_LOG_WARN, "warn"},
    {CY_LOG_NOTICE, "notice"}, {CY_LOG_INFO, "info"}, {CY_LOG_DEBUG, "debug"}, {CY_LOG_TRACE, "trace"},
    {0, NULL}};

static bool level_setting(const struct settings *s, const char *key, enum cy_level *out)
{
	const char *text = settings_str(s, key);
	const struct name *n = text && *text ? name_find(level_names, text) : NULL;

	if (!n)
		return false;
	*out = (enum cy_level)n->value;
	return true;
}

/* "log.default" for all groups, "log.ike" for one */
void tune_log(struct daemon *d)
{
	enum cy_level level = CY_LOG_INFO;
	char key[32];

	(void)level_setting(d->settings, "log.default", &level);
	log_level_all(d->log, level);
	for (int g = 0; g < LOG_N; g++) {
		size_t n = 4;

		memcpy(key, "log.", 4);
		for (const char *p = log_group_names[g]; *p && n < sizeof(key) - 1; p++)
			key[n++] = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
		key[n] = '\0';
		if (level_setting(d->settings, key, &level))
			log_level(d->log, (enum log_group)g, level);
	}
}
