/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the worker what its step is about, so that its time is charged to the exchange, the state, the connection and the
 * peer. Called wherever a step comes to an IKE_SA: a datagram, a completion, a timer. Its worker; costs no clock.
 */
#ifndef DAEMON_SA_ABOUT_H
#define DAEMON_SA_ABOUT_H

#include "daemon/sa/ike_sa.h"

void sa_about(struct ike_sa *sa);                                    /* what it is working on */
void sa_about_packet(struct ike_sa *sa, const struct net_packet *p); /* sa NULL: one that belongs to none */
/* Of a class of struct usage_subject. */
const char *sa_class_exchange(uint8_t class); /* NULL: there is no such class */
const char *sa_class_state(uint8_t class);    /* NULL likewise */

#endif
