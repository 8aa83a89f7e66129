/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcore/run/proc.h"
#include "real_env.h"
#include "sim_env.h"

struct result {
	uint32_t done; /* atomic */
	int status;
	bool timed_out;
	char text[5000];
	size_t n;
};

static void on_done(void *user, int status, bool timed_out, struct cy_slice output)
{
	struct result *r = user;

	r->status = status;
	r->timed_out = timed_out;
	EXPECT(output.n < sizeof(r->text));
	if (output.n)
		memcpy(r->text, output.p, output.n);
	r->text[output.n] = '\0';
	r->n = output.n;
	__atomic_fetch_add(&r->done, 1, __ATOMIC_RELEASE);
}

static enum cy_err sh(struct procs *p, const char *script, uint32_t deadline_ms, struct result *r)
{
	const char *argv[] = {"/bin/sh", "-c", script, NULL},
	           *envp[] = {"GREETING=hello", "PATH=/bin:/usr/bin", NULL};

	return procs_spawn(p, &(struct proc_spec){argv, envp, deadline_ms, "test", on_done, r});
}

struct fixture {
	struct env env;
	struct log *log;
	struct procs *p;
};

static void fixture_init(struct fixture *f, uint32_t running, uint32_t queued)
{
	env_real(&f->env);
	ck_assert_int_eq(log_new(&f->env, &f->log), CY_OK);
	ck_assert_int_eq(procs_new(&f->env, f->log, running, queued, &f->p), CY_OK);
}

static void fixture_fini(struct fixture *f)
{
	procs_free(f->p);
	log_free(f->log);
}

START_TEST(output_and_status)
{
	struct fixture f;
	struct result r = {0}, fails = {0}, missing = {0}, big = {0}, fds = {0};
	const char *argv[] = {"/no/such/program", NULL};
	struct procs_stats st;

	fixture_init(&f, 4, 10);
	ck_assert_int_eq(sh(f.p, "echo $GREETING; echo error >&2; read x; echo \"input: $x\"", 0, &r), CY_OK);
	ck_assert_int_eq(sh(f.p, "exit 3", 0, &fails), CY_OK);
	ck_assert_int_eq(
	    procs_spawn(f.p, &(struct proc_spec){argv, NULL, 0, "test", on_done, &missing}), CY_OK);
	ck_assert_int_eq(
	    sh(f.p, "i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done", 0, &big), CY_OK);
	ck_assert_int_eq(sh(f.p, "ls /proc/self/fd | tr '\\n' ' '", 0, &fds), CY_OK);
	ck_assert(wait_count(&r.done, 1) && wait_count(&fails.done, 1) && wait_count(&missing.done, 1) &&
	    wait_count(&big.done, 1) && wait_count(&fds.done, 1));
	ck_assert_int_eq(r.status, 0);
	ck_assert_str_eq(r.text, "hello\nerror\ninput: \n");
	ck_assert(WIFEXITED(fails.status) && WEXITSTATUS(fails.status) == 3);
	ck_assert(WIFEXITED(missing.status) && WEXITSTATUS(missing.status) == 127);
	ck_assert_ptr_nonnull(strstr(missing.text, "/no/such/program"));
	ck_assert_int_eq(big.status, 0);
	ck_assert_uint_eq(big.n, 4096);
	ck_assert_str_eq(fds.text, "0 1 2 3 "); /* 3: the directory that ls reads */
	procs_read_stats(f.p, &st);
	ck_assert_uint_eq(st.started, 5);
	ck_assert_uint_eq(st.finished, 5);
	ck_assert_uint_eq(st.failed, 2);
	ck_assert_uint_eq(st.killed, 0);
	ck_assert_uint_eq(st.running, 0);
	fixture_fini(&f);
}
END_TEST

static bool gone(pid_t pid)
{
	for (int i = 0; i < 1000; i++) {
		char path[64], state = 0;
		FILE *file;

		if (kill(pid, 0) < 0 && errno == ESRCH)
			return true;
		/* or a zombie, where nobody reaps orphans */
		(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
		file = fopen(path, "r");
		if (file && fscanf(file, "%*d (%*[^)]) %c", &state) == 1 && state == 'Z') {
			fclose(file);
			return true;
		}
		if (file)
			fclose(file);
		sleep_ms(1);
	}
	return false;
}

/* The whole group goes at the deadline, also who ignores SIGTERM. */
START_TEST(deadline)
{
	struct fixture f;
	struct result polite = {0}, stubborn = {0};
	struct procs_stats st;
	uint64_t start;
	int child = 0;

	fixture_init(&f, 4, 10);
	start = env_now(&f.env);
	ck_assert_int_eq(sh(f.p, "sleep 100 & echo $!; wait", 100, &polite), CY_OK);
	ck_assert_int_eq(
	    sh(f.p, "trap '' TERM; sleep 100 & echo $!; while :; do wait; done", 100, &stubborn), CY_OK);
	ck_assert(wait_count(&polite.done, 1));
	ck_assert_uint_le(env_now(&f.env) - start, 1500 * NS_PER_MS);
	ck_assert(polite.timed_out);
	ck_assert(WIFSIGNALED(polite.status) && WTERMSIG(polite.status) == SIGTERM);
	ck_assert_int_eq(sscanf(polite.text, "%d", &child), 1);
	ck_assert(gone(child));
	ck_assert(wait_count(&stubborn.done, 1));
	ck_assert_uint_ge(env_now(&f.env) - start, 2000 * NS_PER_MS);
	ck_assert_uint_le(env_now(&f.env) - start, 4000 * NS_PER_MS);
	ck_assert(WIFSIGNALED(stubborn.status) && WTERMSIG(stubborn.status) == SIGKILL);
	ck_assert_int_eq(sscanf(stubborn.text, "%d", &child), 1);
	ck_assert(gone(child));
	procs_read_stats(f.p, &st);
	ck_assert_uint_eq(st.killed, 2);
	fixture_fini(&f);
}
END_TEST

START_TEST(bounded)
{
	struct fixture f;
	struct result r[10] = {0};
	struct procs_stats st;
	int ok = 0;

	fixture_init(&f, 2, 3);
	for (int i = 0; i < 10; i++)
		if (sh(f.p, "sleep 0.2", 0, &r[i]) == CY_OK)
			ok++;
	ck_assert_int_eq(ok, 5);
	sleep_ms(100);
	procs_read_stats(f.p, &st);
	ck_assert_uint_eq(st.refused, 5);
	ck_assert_uint_eq(st.running, 2);
	ck_assert_uint_eq(st.queued, 3);
	for (int i = 0; i < 5; i++)
		ck_assert(wait_count(&r[i].done, 1));
	fixture_fini(&f);
}
END_TEST

/* Freed while one runs that ignores all it can, with others queued: each is told once. */
START_TEST(freed_while_running)
{
	struct fixture f;
	struct result r[4] = {0};
	uint64_t start;

	fixture_init(&f, 1, 10);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(sh(f.p, "trap '' TERM INT HUP; sleep 100", 0, &r[i]), CY_OK);
	sleep_ms(100);
	start = env_now(&f.env);
	fixture_fini(&f);
	ck_assert_uint_le(env_now(&f.env) - start, 1500 * NS_PER_MS);
	for (int i = 0; i < 4; i++) {
		ck_assert_uint_eq(r[i].done, 1);
		ck_assert(WIFSIGNALED(r[i].status) && WTERMSIG(r[i].status) == SIGKILL);
	}
}
END_TEST

/* A child that goes on in the background with the output open does not hold up the end. */
START_TEST(background_child)
{
	struct fixture f;
	struct result r = {0};
	uint64_t start;
	int child = 0;

	fixture_init(&f, 1, 10);
	start = env_now(&f.env);
	ck_assert_int_eq(sh(f.p, "sleep 20 & echo $!", 0, &r), CY_OK);
	ck_assert(wait_count(&r.done, 1));
	ck_assert_uint_le(env_now(&f.env) - start, 5000 * NS_PER_MS);
	ck_assert_int_eq(r.status, 0);
	ck_assert_int_eq(sscanf(r.text, "%d", &child), 1);
	ck_assert_int_eq(kill(child, 0), 0);
	(void)kill(child, SIGKILL);
	fixture_fini(&f);
}
END_TEST

struct spawner {
	struct procs *p;
	struct result r[10];
};

static void *spawn_main(void *arg)
{
	struct spawner *s = arg;

	for (int i = 0; i < 10; i++)
		EXPECT(sh(s->p, "echo x", 0, &s->r[i]) == CY_OK);
	return NULL;
}

START_TEST(from_many_threads)
{
	struct fixture f;
	static struct spawner s[3];
	pthread_t t[3];
	struct procs_stats st;

	fixture_init(&f, 3, 100);
	for (int i = 0; i < 3; i++) {
		s[i].p = f.p;
		pthread_create(&t[i], NULL, spawn_main, &s[i]);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < 3; i++) {
		for (int k = 0; k < 10; k++) {
			ck_assert(wait_count(&s[i].r[k].done, 1));
			ck_assert_str_eq(s[i].r[k].text, "x\n");
		}
		procs_read_stats(f.p, &st);
	}
	ck_assert_uint_eq(st.finished, 30);
	fixture_fini(&f);
}
END_TEST

struct chain {
	struct procs *p;
	int left;
};

static void spawn_next(void *user, int status, bool timed_out, struct cy_slice output)
{
	struct chain *c = user;
	const char *argv[] = {"/bin/true", NULL};

	if (--c->left > 0)
		EXPECT(procs_spawn(c->p, &(struct proc_spec){argv, NULL, 0, "t", spawn_next, c}) == CY_OK);
}

START_TEST(simulated)
{
	struct sim_env env;
	struct procs *p;
	struct result r = {0}, late = {0};
	struct chain c;

	sim_env_init(&env);
	ck_assert_int_eq(procs_new(&env.env, NULL, 2, 2, &p), CY_OK);
	ck_assert_int_eq(sh(p, "echo now", 0, &r), CY_OK);
	ck_assert_uint_eq(r.done, 1);
	ck_assert_str_eq(r.text, "now\n");
	ck_assert_int_eq(sh(p, "sleep 50", 50, &late), CY_OK);
	ck_assert_uint_eq(late.done, 1);
	ck_assert(late.timed_out);
	c = (struct chain){p, 4};
	spawn_next(&c, 0, false, cy_slice(NULL, 0));
	ck_assert_int_eq(c.left, 0);
	procs_free(p);
}
END_TEST

UNIT_TESTS(proc)
{
	tcase_add_test(tc, output_and_status);
	tcase_add_test(tc, deadline);
	tcase_add_test(tc, bounded);
	tcase_add_test(tc, freed_while_running);
	tcase_add_test(tc, background_child);
	tcase_add_test(tc, from_many_threads);
	tcase_add_test(tc, simulated);
}
