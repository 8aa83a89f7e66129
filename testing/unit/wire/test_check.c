/* SPDX-License-Identifier: Apache-2.0 */
/* Which payloads belong where (RFC 7296, 1.2 to 1.5 and Appendix C), and how messages print. */
#include "unit.h"

#include <stdlib.h>

#include "daemon/wire/generate.h"

/* Stand-ins in the lists below: notify payloads of certain types. */
enum { ERROR = 200, COOKIE, REDIRECT, STATUS };
enum {
	INIT = EXCHANGE_IKE_SA_INIT,
	AUTH = EXCHANGE_IKE_AUTH,
	CHILD = EXCHANGE_CREATE_CHILD_SA,
	INFO = EXCHANGE_INFORMATIONAL
};
enum { REQ, RESP };
enum { CLEAR, SEALED };
#define SA    PAYLOAD_SA
#define KE    PAYLOAD_KE
#define NONCE PAYLOAD_NONCE
#define IDI   PAYLOAD_IDI
#define IDR   PAYLOAD_IDR
#define TSI   PAYLOAD_TSI
#define TSR   PAYLOAD_TSR
#define EAP   PAYLOAD_EAP
#define CP    PAYLOAD_CP
#define A     PAYLOAD_AUTH

static const struct check_case {
	uint8_t exchange, response, sealed;
	uint8_t types[8];  /* a list ends with 0 */
	const char *words; /* NULL: good */
} cases[] = {
    {INIT, REQ, CLEAR, {SA, KE, NONCE}, NULL},
    {INIT, REQ, CLEAR, {NONCE, STATUS, SA, PAYLOAD_VENDOR, KE}, NULL},
    {INIT, REQ, CLEAR, {COOKIE, SA, KE, NONCE}, NULL},
    {INIT, REQ, CLEAR, {99, SA, KE, NONCE}, NULL},
    {INIT, REQ, CLEAR, {0}, "SA payload is missing"},
    {INIT, REQ, CLEAR, {SA, NONCE}, "KE payload is missing"},
    {INIT, REQ, CLEAR, {SA, KE}, "No payload is missing"},
    {INIT, REQ, CLEAR, {SA, KE, KE, NONCE}, "more than 1 KE payload"},
    {INIT, REQ, CLEAR, {SA, SA, KE, NONCE}, "more than 1 SA payload"},
    {INIT, REQ, CLEAR, {SA, KE, NONCE, IDI}, "IDi payload has no place"},
    {INIT, REQ, CLEAR, {SA, KE, NONCE, PAYLOAD_SK}, "SK payload has no place"},
    {INIT, REQ, CLEAR, {ERROR}, "SA payload is missing"}, /* only responses may say no */
    {INIT, REQ, SEALED, {SA, KE, NONCE}, "no such exchange"},
    {INIT, RESP, CLEAR, {SA, KE, NONCE, PAYLOAD_CERTREQ}, NULL},
    {INIT, RESP, CLEAR, {ERROR}, NULL},
    {INIT, RESP, CLEAR, {COOKIE}, NULL},
    {INIT, RESP, CLEAR, {REDIRECT}, NULL},
    {INIT, RESP, CLEAR, {STATUS}, "SA payload is missing"},
    {INIT, RESP, CLEAR, {ERROR, IDR}, "IDr payload has no place"},

    {AUTH, REQ, SEALED, {IDI, A, SA, TSI, TSR}, NULL},
    {AUTH, REQ, SEALED, {IDI, PAYLOAD_CERT, PAYLOAD_CERT, PAYLOAD_CERTREQ, IDR, A, CP}, NULL}, /* childless */
    {AUTH, REQ, SEALED, {IDI, SA, TSI, TSR}, NULL},                                            /* wants EAP */
    {AUTH, REQ, SEALED, {EAP}, NULL},
    {AUTH, REQ, SEALED, {A}, NULL},
    {AUTH, REQ, SEALED, {0}, "AUTH payload is missing"},
    {AUTH, REQ, SEALED, {IDI, A, SA}, "only come together"},
    {AUTH, REQ, SEALED, {IDI, A, SA, TSI}, "only come together"},
    {AUTH, REQ, SEALED, {IDI, A, TSI, TSR}, "only come together"},
    {AUTH, REQ, SEALED, {IDI, IDI, A}, "more than 1 IDi"},
    {AUTH, REQ, SEALED, {IDI, A, EAP}, "EAP payload has no place"},
    {AUTH, REQ, SEALED, {IDI, A, KE}, "KE payload has no place"},
    {AUTH, REQ, SEALED, {IDI, A, PAYLOAD_SK}, "SK payload has no place"},
    {AUTH, REQ, CLEAR, {IDI, A, SA, TSI, TSR}, "must be encrypted"},
    {AUTH, REQ, CLEAR, {PAYLOAD_SK}, NULL},
    {AUTH, REQ, CLEAR, {PAYLOAD_SKF}, NULL},
    {AUTH, REQ, CLEAR, {IDI, PAYLOAD_SK}, "IDi payload has no place"},
    {AUTH, REQ, CLEAR, {STATUS, PAYLOAD_SK}, "N payload has no place"},
    {AUTH, REQ, CLEAR, {ERROR}, "must be encrypted"},
    {AUTH, RESP, SEALED, {IDR, PAYLOAD_CERT, A, CP, SA, TSI, TSR}, NULL},
    {AUTH, RESP, SEALED, {IDR, A, EAP}, NULL},
    {AUTH, RESP, SEALED, {EAP}, NULL},
    {AUTH, RESP, SEALED, {A, SA, TSI, TSR}, NULL},
    {AUTH, RESP, SEALED, {IDR, A, ERROR}, NULL}, /* authenticated, but no CHILD_SA */
    {AUTH, RESP, SEALED, {ERROR}, NULL},
    {AUTH, RESP, SEALED, {IDR, SA, TSI, TSR}, "AUTH payload is missing"},
    {AUTH, RESP, SEALED, {IDR, A, SA, TSR}, "only come together"},
    {AUTH, RESP, SEALED, {IDI, A}, "IDi payload has no place"},
    {AUTH, RESP, CLEAR, {ERROR}, NULL}, /* INVALID_IKE_SPI, a hint */
    {AUTH, RESP, CLEAR, {IDR, A}, "must be encrypted"},

    {CHILD, REQ, SEALED, {STATUS, SA, NONCE, KE, TSI, TSR}, NULL},
    {CHILD, REQ, SEALED, {SA, NONCE, TSI, TSR}, NULL},
    {CHILD, REQ, SEALED, {SA, NONCE, KE}, NULL},
    {CHILD, REQ, SEALED, {SA, NONCE}, "KE payload is missing"},
    {CHILD, REQ, SEALED, {SA, NONCE, TSI}, "TSr payload is missing"},
    {CHILD, REQ, SEALED, {SA, NONCE, KE, TSR}, "TSr payload has no place"},
    {CHILD, REQ, SEALED, {SA, TSI, TSR}, "No payload is missing"},
    {CHILD, REQ, SEALED, {SA, NONCE, NONCE, KE}, "more than 1 No"},
    {CHILD, REQ, CLEAR, {SA, NONCE, KE}, "must be encrypted"},
    {CHILD, RESP, SEALED, {SA, NONCE, TSI, TSR}, NULL},
    {CHILD, RESP, SEALED, {SA, NONCE, KE}, NULL},
    {CHILD, RESP, SEALED, {ERROR}, NULL},
    {CHILD, RESP, SEALED, {0}, "SA payload is missing"},

    {INFO, REQ, SEALED, {0}, NULL},
    {INFO, REQ, SEALED, {PAYLOAD_DELETE, PAYLOAD_DELETE, STATUS, CP}, NULL},
    {INFO, REQ, SEALED, {SA}, "SA payload has no place"},
    {INFO, RESP, SEALED, {PAYLOAD_DELETE}, NULL},
    {INFO, RESP, SEALED, {0}, NULL},
    {INFO, REQ, CLEAR, {ERROR}, NULL}, /* INVALID_SPI out of nowhere */
    {INFO, REQ, CLEAR, {PAYLOAD_DELETE}, "must be encrypted"},
    {INFO, REQ, CLEAR, {0}, "must be encrypted"},
    {INFO, RESP, CLEAR, {0}, "must be encrypted"},
    {99, REQ, SEALED, {0}, "no such exchange"},
    {99, REQ, CLEAR, {0}, "must be encrypted"},
};

static void add(struct arena *a, struct message *m, uint8_t type)
{
	static const uint16_t notifies[] = {N_NO_PROPOSAL_CHOSEN, N_COOKIE, N_REDIRECT, N_INITIAL_CONTACT};
	struct cy_slice none = {NULL, 0};
	uint64_t seed = 1;

	if (type >= ERROR)
		ck_assert(message_notify(a, m, 0, notifies[type - ERROR], none, none));
	else
		ck_assert_int_eq(wire_generate_payload(a, &seed, m, type), CY_OK);
}

START_TEST(exchanges_take_their_payloads)
{
	const struct check_case *c = &cases[_i];
	struct ike_header h = {.exchange = c->exchange, .flags = c->response ? IKE_FLAG_RESPONSE : 0};
	struct wire_error why = {.notify = 0};
	struct message m;
	struct arena a;
	enum cy_err err;

	arena_init(&a, 0);
	message_init(&m, &h);
	for (size_t i = 0; i < sizeof(c->types) && c->types[i]; i++)
		add(&a, &m, c->types[i]);
	err = wire_check(&m.h, m.first, c->sealed, &why);
	ck_assert_msg(!err == !c->words, "case %d: %s", _i, why.text);
	if (err) {
		ck_assert_int_eq(err, CY_E_PARSE);
		ck_assert_msg(strstr(why.text, c->words), "case %d: %s", _i, why.text);
		/* nothing is answered to what nobody authenticated */
		ck_assert_uint_eq(why.notify, c->sealed ? N_INVALID_SYNTAX : 0);
	}
	arena_fini(&a);
}
END_TEST

START_TEST(prints_as_administrators_know_it)
{
	struct ike_header h = {.exchange = INIT, .flags = IKE_FLAG_INITIATOR};
	struct cp_attr attrs[] = {
	    {.type = CFG_INTERNAL_IP4_ADDRESS}, {.type = CFG_INTERNAL_IP6_DNS}, {.type = 30000}};
	struct cy_slice none = {NULL, 0};
	struct payload *p;
	struct message m;
	struct arena a;
	char text[200];

	arena_init(&a, 0);
	message_init(&m, &h);
	add(&a, &m, SA);
	add(&a, &m, KE);
	add(&a, &m, NONCE);
	ck_assert(message_notify(&a, &m, 0, N_NAT_DETECTION_SOURCE_IP, none, none));
	ck_assert(message_notify(&a, &m, 0, 40000, none, none));
	ck_assert_str_eq(wire_print(&m.h, m.first, text, sizeof(text)),
	    "IKE_SA_INIT request 0 [ SA KE No N(NATD_S_IP) N((40000)) ]");
	/* cut off where it must be, always ended */
	for (size_t cap = 1; cap < 60; cap++) {
		char *small = malloc(cap);

		wire_print(&m.h, m.first, small, cap);
		ck_assert_uint_lt(strlen(small), cap);
		ck_assert_int_eq(strncmp(small, text, strlen(small)), 0);
		free(small);
	}
	h.exchange = AUTH;
	h.flags = IKE_FLAG_RESPONSE;
	h.msgid = 1;
	message_init(&m, &h);
	add(&a, &m, IDR);
	p = message_add(&a, &m, CP);
	p->u.cp = (struct payload_cp){.type = CFG_REPLY, .attrs = attrs, .n = 3};
	p = message_add(&a, &m, PAYLOAD_SKF);
	p->u.sk.frag_no = 2;
	p->u.sk.frag_total = 3;
	add(&a, &m, 99);
	ck_assert_str_eq(wire_print(&m.h, m.first, text, sizeof(text)),
	    "IKE_AUTH response 1 [ IDr CPRP(ADDR DNS6 (30000)) EF(2/3) (99) ]");
	arena_fini(&a);
}
END_TEST

START_TEST(finds_what_is_there)
{
	struct ike_header h = {.exchange = INFO};
	struct cy_slice none = {NULL, 0};
	struct message m;
	struct arena a;

	arena_init(&a, 0);
	message_init(&m, &h);
	ck_assert_ptr_null(wire_find(m.first, NONCE));
	ck_assert_ptr_null(wire_find_error(m.first));
	add(&a, &m, NONCE);
	ck_assert(message_notify(&a, &m, 0, N_INITIAL_CONTACT, none, none));
	ck_assert_ptr_null(wire_find_error(m.first));
	ck_assert(message_notify(&a, &m, 0, N_TEMPORARY_FAILURE, none, none));
	add(&a, &m, NONCE);
	ck_assert_ptr_eq(wire_find(m.first, NONCE), m.first);
	ck_assert_ptr_eq(wire_find_after(m.first, NONCE), m.first->next->next->next);
	ck_assert_ptr_null(wire_find_after(wire_find_after(m.first, NONCE), NONCE));
	ck_assert_ptr_eq(wire_find_notify(m.first, N_TEMPORARY_FAILURE), m.first->next->next);
	ck_assert_ptr_eq(wire_find_error(m.first), m.first->next->next);
	ck_assert_ptr_null(wire_find_notify(m.first, N_COOKIE));
	arena_fini(&a);
}
END_TEST

UNIT_TESTS(check)
{
	tcase_add_loop_test(tc, exchanges_take_their_payloads, 0, sizeof(cases) / sizeof(cases[0]));
	tcase_add_test(tc, prints_as_administrators_know_it);
	tcase_add_test(tc, finds_what_is_there);
}
