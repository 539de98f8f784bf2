/*
 * fault.h: misbehaviour on demand: which calls go wrong, and how.
 *
 * A fault matches calls by action and user name. Delays and holds of all that match add up; of the
 * others the first that matches decides the answer.
 */
#ifndef DSEC_TESTS_IAM_FAULT_H
#define DSEC_TESTS_IAM_FAULT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

enum fault_kind {
	FAULT_DELAY,
	FAULT_HOLD,  /* until released */
	FAULT_ERROR, /* an error answer: status, code, message */
	FAULT_HTML,  /* what a load balancer says: status, an HTML body */
	FAULT_DROP,  /* the connection is closed without an answer */
	/* The rest are bodies that no client should swallow, with status 200. */
	FAULT_EMPTY,   /* none */
	FAULT_TEXT,    /* no XML */
	FAULT_CUT,     /* XML that ends in its middle, rightly framed */
	FAULT_BROKEN,  /* the connection ends in the body's middle */
	FAULT_WRONG,   /* XML of something else */
	FAULT_HUGE,    /* 64 MiB of XML */
	FAULT_ENDLESS, /* XML without end */
};

struct fault {
	TAILQ_ENTRY(fault) all;
	enum fault_kind kind;
	bool after; /* after the effect; else before it, in place of it unless DELAY or HOLD */
	char *action, *user; /* patterns with * and ? */
	int64_t times;       /* how many more calls; <0: any number */
	int64_t skip;        /* how many matching calls pass first */
	int64_t every;       /* then each every-th matching call */
	uint64_t matched;
	int64_t ms;     /* DELAY */
	int64_t status; /* ERROR, HTML */
	char *code, *message;
};

struct faults {
	TAILQ_HEAD(, fault) all;
};

/* What is to happen to one call. */
struct fault_plan {
	int64_t delay_ms[2]; /* [0]: before the effect, [1]: after */
	bool hold[2];
	struct fault *answer; /* owned; NULL: a good one */
};

void faults_init(struct faults *faults);
void faults_clear(struct faults *faults);
/* NULL, or what is wrong with it, for free(). */
char *faults_add(struct faults *faults, const json_t *description);
/* Counts the call. */
struct fault_plan faults_plan(struct faults *faults, const char *action, const char *user);
void fault_plan_finish(struct fault_plan *plan);

#endif
