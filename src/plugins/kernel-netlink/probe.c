/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this kernel can do. There is no other way to know than to install an SA and to look at what became of it: the
 * addresses are for documentation (RFC 5737, RFC 3849), no policy leads there, and each SA goes at once.
 */
#include "xfrm_sa.h"

#include <errno.h>

struct seen {
	bool if_id, mark, cpu;
};

static void look(void *user, const struct nlmsghdr *nlh)
{
	const struct nlattr *a[KN_XFRMA_MAX + 1];
	struct seen *s = user;

	if (nlh->nlmsg_type != XFRM_MSG_NEWSA)
		return;
	nl_attrs(nlh, sizeof(struct xfrm_usersa_info), a, KN_XFRMA_MAX);
	s->if_id = nl_u32(a[XFRMA_IF_ID]) != 0;
	s->mark = a[XFRMA_MARK] != NULL;
	s->cpu = a[KN_XFRMA_SA_PCPU] != NULL;
}

/* Installs it, looks at it, removes it: 0, or what the kernel said to it. */
static int try_sa(struct kernel *k, const struct cy_kernel_sa *sa, struct seen *out)
{
	struct cy_kernel_sa_id id = sa_id_of(sa);
	const char *why;
	struct nl_msg m;
	int got;

	if (sa_encode(&m, sa, &why) != CY_OK)
		return -EINVAL;
	got = nl_ack(k->xfrm, &m);
	nl_wipe(&m);
	if (got < 0)
		return got;
	sa_ask(&m, XFRM_MSG_GETSA, &id);
	(void)nl_query(k->xfrm, &m, look, out);
	sa_ask(&m, XFRM_MSG_DELSA, &id);
	(void)nl_ack(k->xfrm, &m);
	return 0;
}

/* An SA of these addresses, with algorithms that this kernel has. */
static int find_algs(struct kernel *k, struct cy_kernel_sa *sa, const uint8_t key[64])
{
	static const struct {
		uint16_t encr, integ;
		uint8_t encr_len, integ_len;
	} suites[] = {
	    {CY_ENCR_AES_GCM_16, 0, 20, 0},
	    {CY_ENCR_AES_CBC, CY_INTEG_HMAC_SHA2_256_128, 16, 32},
	    {CY_ENCR_AES_CBC, CY_INTEG_HMAC_SHA1_96, 16, 20},
	    {CY_ENCR_NULL, CY_INTEG_HMAC_SHA1_96, 0, 20},
	};
	struct seen seen = {0};
	int got = -ENOSYS;

	for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
		sa->encr = suites[i].encr;
		sa->integ = suites[i].integ;
		sa->encr_key = cy_slice(key, suites[i].encr_len);
		sa->integ_key = cy_slice(key, suites[i].integ_len);
		got = try_sa(k, sa, &seen);
		if (got == 0 || got == -EPERM)
			break;
	}
	return got;
}

static enum cy_err no_esp(struct kernel *k, int got)
{
	if (got == -EPERM) {
		LOG(k, CY_LOG_ERROR, "no permission to install SAs: CAP_NET_ADMIN is needed");
		return CY_E_DENIED;
	}
	LOG(k, CY_LOG_NOTICE,
	    "this kernel has no ESP (no module esp4): it answers \"%s%s%s\" to an SA; another data plane "
	    "must do it",
	    strerror(-got), *nl_why(k->xfrm) ? ": " : "", nl_why(k->xfrm));
	return CY_E_UNSUPPORTED;
}

static void probe_more(struct kernel *k, struct cy_kernel_sa *sa, uint32_t *features)
{
	struct seen seen = {0};
	struct cy_kernel_sa with = *sa;

	with.encap = 1;
	with.src.port = with.dst.port = 4500;
	if (try_sa(k, &with, &seen) == 0)
		*features |= CY_KERNEL_ESP_UDP;
	with = *sa;
	with.mode = CY_MODE_TRANSPORT;
	if (try_sa(k, &with, &seen) == 0)
		*features |= CY_KERNEL_TRANSPORT;
	with = *sa;
	with.esn = 1;
	if (try_sa(k, &with, &seen) == 0)
		*features |= CY_KERNEL_ESN;
	/* a kernel that does not know an attribute ignores it */
	with = *sa;
	with.if_id = 1;
	with.mark = (struct cy_mark){1, 1};
	if (try_sa(k, &with, &seen) == 0)
		*features |= (seen.if_id ? CY_KERNEL_IF_ID : 0) | (seen.mark ? CY_KERNEL_MARK : 0);
	with = *sa;
	with.cpu = 0;
	if (try_sa(k, &with, &seen) == 0 && seen.cpu)
		*features |= CY_KERNEL_PCPU;
}

enum cy_err probe_features(struct kernel *k, uint32_t *out)
{
	static const uint8_t key[64] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
	    21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32};
	struct cy_kernel_sa sa = {.size = sizeof(sa),
	    .src = {.family = AF_INET, .ip = {192, 0, 2, 1}},
	    .dst = {.family = AF_INET, .ip = {192, 0, 2, 2}},
	    .proto = CY_PROTO_ESP,
	    .mode = CY_MODE_TUNNEL,
	    .dir = CY_DIR_IN,
	    .reqid = UINT32_MAX,
	    .replay_window = 32,
	    .cpu = -1};
	uint32_t features =
	    CY_KERNEL_ESP_RAW | CY_KERNEL_POLICY | CY_KERNEL_ACQUIRE | CY_KERNEL_EXPIRE | CY_KERNEL_DEVICES;
	int got;

	k->host->random(k->self, &sa.spi, sizeof(sa.spi));
	sa.spi |= 0x80000000u;
	got = find_algs(k, &sa, key);
	if (got < 0)
		return no_esp(k, got);
	probe_more(k, &sa, &features);
	sa.src = (struct cy_addr){.family = AF_INET6, .ip = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}};
	sa.dst = (struct cy_addr){.family = AF_INET6, .ip = {0x20, 0x01, 0x0d, 0xb8, [15] = 2}};
	if (find_algs(k, &sa, key) == 0)
		features |= CY_KERNEL_IPV6;
	*out = features;
	return CY_OK;
}
