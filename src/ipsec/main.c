/* SPDX-License-Identifier: Apache-2.0 */

#include "config.h"

#include <stdio.h>

/* The verbs of the control tool belong here, one small file each; there are none yet. */
int main(void)
{
	fprintf(stderr, "ipsec " PACKAGE_VERSION ": no verb is built yet\n");
	return 1;
}
