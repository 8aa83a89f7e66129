/* SPDX-License-Identifier: Apache-2.0 */
/* What the data plane drops, by the names of /proc/net/xfrm_stat and of kernel-tun, in plain words. */
#include <stdio.h>

#include "daemon/watch/doctor_impl.h"

/* Few a second are noise of the network: a packet for an SA that has just gone. */
#define NOISE 1.0

enum weight { FAULT, NOISY, HARMLESS };

static const struct {
	const char *name;
	enum weight weight;
	const char *means, *advice;
} errors[] = {
    {"XfrmInError", FAULT, "packets that the kernel could not decrypt",
        "Look for a crypto driver that fails."},
    {"XfrmInBufferError", FAULT, "packets for which the kernel had no memory", "Give the machine memory."},
    {"XfrmInHdrError", NOISY, "packets with a broken ESP header",
        "The path damages them, or somebody sends garbage."},
    {"XfrmInNoStates", NOISY, "packets with an SPI that no SA has",
        "The peer still sends on an SA that is gone here: after a restart, or when its deletes got lost. "
        "Liveness "
        "(dpddelay=) makes it notice."},
    {"XfrmInStateProtoError", FAULT,
        "packets whose integrity check failed, or that the SA's protocol cannot decode",
        "The path changes them, or both ends disagree on an algorithm: sha256_96, or the ICV length of an "
        "old peer."},
    {"XfrmInStateModeError", NOISY, "packets whose inner header does not fit the SA's mode",
        "One end has type=tunnel and the other type=transport."},
    {"XfrmInStateSeqError", NOISY, "packets outside the replay window, or seen before",
        "They are reordered on their way or by several CPUs: a larger replay_window, or SAs for each CPU."},
    {"XfrmInStateExpired", NOISY, "packets for an SA past its lifetime",
        "Rekeying came too late: a larger margintime=."},
    {"XfrmInStateMismatch", NOISY,
        "packets whose SA has other options than the packet, such as UDP encapsulation",
        "One end encapsulates and the other does not: forceencaps=, or a NAT that came or went."},
    {"XfrmInStateInvalid", NOISY, "packets for an SA that is not complete",
        "They came while it was being installed."},
    {"XfrmInStateDirError", NOISY, "packets that came in on an outbound SA", "Somebody reflects packets."},
    {"XfrmInTmplMismatch", FAULT, "packets that no policy allows to come by this SA",
        "The inner addresses are not in the selectors that were agreed: compare leftsubnet and rightsubnet "
        "of both ends, "
        "or a foreign policy is in the way (ip xfrm policy)."},
    {"XfrmInNoPols", FAULT, "packets that came by an SA for which there is no inbound policy",
        "Policies were flushed by somebody else, or installpolicy=no without own policies."},
    {"XfrmInPolBlock", FAULT, "packets that an inbound policy discards",
        "A drop policy, or clear traffic for a tunnel that must be encrypted: the peer sends outside of the "
        "tunnel."},
    {"XfrmInPolError", FAULT, "packets for which an inbound policy failed", "See the kernel's log."},
    {"XfrmAcquireError", FAULT, "packets for which no tunnel could be asked for",
        "The daemon's netlink queue was full, or its reqid is not known: see the log, group knl."},
    {"XfrmFwdHdrError", NOISY, "forwarded packets with a broken header", "The path damages them."},
    {"XfrmOutError", FAULT, "packets that the kernel could not encrypt",
        "Look for a crypto driver that fails."},
    {"XfrmOutBundleGenError", FAULT, "packets for which no way out could be made",
        "A route to the peer is missing."},
    {"XfrmOutBundleCheckError", NOISY, "packets whose way out went meanwhile", "Routes or SAs change often."},
    {"XfrmOutNoStates", NOISY, "packets to be protected while there was no SA",
        "The tunnel was not up: auto=route brings it up by traffic, auto=start at once; see whether it "
        "fails."},
    {"XfrmOutStateProtoError", FAULT, "packets that an SA's protocol could not encode",
        "See the kernel's log."},
    {"XfrmOutStateModeError", FAULT, "packets that do not fit the SA's mode, often too large for the path",
        "Path MTU discovery is blocked: allow ICMP, or clamp the MSS."},
    {"XfrmOutStateSeqError", FAULT, "packets for an SA whose sequence numbers are used up",
        "Rekeying does not happen in time: esn, or lifepackets=."},
    {"XfrmOutStateExpired", NOISY, "packets for an SA past its lifetime",
        "Rekeying came too late: a larger margintime=."},
    {"XfrmOutPolBlock", FAULT, "packets that an outbound policy discards",
        "A drop policy matches: ip xfrm policy."},
    {"XfrmOutPolDead", NOISY, "packets for a policy that was being removed", "It passes."},
    {"XfrmOutPolError", FAULT, "packets for which an outbound policy failed", "See the kernel's log."},
    {"XfrmOutStateInvalid", NOISY, "packets for an SA that is not complete",
        "They came while it was being installed."},
    {"EspInRingFull", FAULT, "packets the ESP threads did not keep up with",
        "More threads (plugins.kernel-tun.queues), a longer ring, or a kernel with ESP (kernel-netlink)."},
    {"EspInShort", NOISY, "packets too short to be ESP", "Somebody sends garbage."},
    {"EspInNoSa", NOISY, "packets with an SPI that no SA has",
        "The peer still sends on an SA that is gone here; liveness (dpddelay=) makes it notice."},
    {"EspInExpired", NOISY, "packets for an SA past its lifetime",
        "Rekeying came too late: a larger margintime=."},
    {"EspInReplay", NOISY, "packets outside the replay window, or seen before",
        "They are reordered on their way: a larger replay_window."},
    {"EspInBadIcv", FAULT, "packets that are not authentic",
        "The path changes them, or both ends disagree on an algorithm (sha256_96)."},
    {"EspInDummy", HARMLESS, "", ""},
    {"EspInEsnResync", HARMLESS, "", ""},
    {"EspInSelectorMismatch", FAULT, "packets that are not what their SA is for",
        "The inner addresses are not in the selectors that were agreed: compare leftsubnet and rightsubnet "
        "of both ends."},
    {"EspInPolicyBlock", FAULT, "packets that no policy allows",
        "A drop policy, or selectors of both ends that differ."},
    {"EspInWriteFailed", FAULT, "packets that the TUN device refused", "Is it up? Is its queue full?"},
    {"EspOutNoPolicy", NOISY, "packets routed into the tunnel that no policy wants",
        "A route is wider than the selectors."},
    {"EspOutPolicyBlock", FAULT, "packets that a policy discards", "A drop policy matches."},
    {"EspOutRingFull", FAULT, "packets for an SA of no CPU that its one ESP thread did not keep up with",
        "Does the peer allow an SA for each CPU? A longer ring (plugins.kernel-tun.ring) otherwise."},
    {"EspOutNoSa", NOISY, "packets to be protected while there was no SA",
        "The tunnel was not up; plugins.kernel-tun.acquire_packets keeps more of them."},
    {"EspOutQueued", HARMLESS, "", ""},
    {"EspOutSeqOverflow", FAULT, "packets for an SA whose sequence numbers are used up",
        "Rekeying does not happen in time."},
    {"EspOutTooBig", NOISY, "packets too large for the tunnel",
        "Path MTU discovery is blocked: allow ICMP, or clamp the MSS."},
};

const char *doctor_error_text(const char *name, const char **out_advice)
{
	for (size_t i = 0; i < ARRAY_LEN(errors); i++)
		if (strcmp(errors[i].name, name) == 0) {
			if (out_advice)
				*out_advice = errors[i].advice;
			return errors[i].means;
		}
	return NULL;
}

static enum weight weight_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(errors); i++)
		if (strcmp(errors[i].name, name) == 0)
			return errors[i].weight;
	return FAULT;
}

void doctor_rule_errors(struct doctor *d)
{
	const struct sample *t = d->in->total;

	for (size_t i = 0; i < t->n_errors; i++) {
		const char *name = t->errors[i].name,
		           *advice = "See the kernel's documentation of this counter.";
		const char *means = doctor_error_text(name, &advice);
		uint64_t now = sample_error(d->in->now, name), n = now ? now : t->errors[i].value;
		enum weight weight = weight_of(name);
		enum finding_level level = !now ? FINDING_PAST : FINDING_LIMITS;

		if (weight == HARMLESS || !n)
			continue;
		if (level == FINDING_LIMITS && weight == NOISY && doctor_rate(d, now) <= NOISE)
			level = FINDING_WARNS;
		doctor_advise(doctor_add(d, "data-plane-drops", level, (double)n, name,
		                  "The data plane dropped %llu packets %s (%s): %s.", (unsigned long long)n,
		                  now ? "just now" : "since the start of the machine, none just now", name,
		                  means ? means : "not known to this version"),
		    "%s", advice);
	}
}
