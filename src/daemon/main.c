/* SPDX-License-Identifier: Apache-2.0 */

#include "config.h"

#include <stdio.h>

/* The wiring of the daemon belongs here; there is nothing to wire yet. */
int main(void)
{
	fprintf(stderr, "cygnetd " PACKAGE_VERSION ": not built yet\n");
	return 1;
}
