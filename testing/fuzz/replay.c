/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main() of a fuzz target that is built without libFuzzer: it runs the target on an empty input and on
 * each file given, or else on each file of the target's corpus, testing/fuzz/corpus/NAME for fuzz_NAME. Each
 * input is a heap block of its exact size, so that a read past its end shows under AddressSanitizer.
 */

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void die(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

static void replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct stat st;
	uint8_t *data;
	size_t size;

	if (!f || fstat(fileno(f), &st) < 0)
		die(path);
	size = (size_t)st.st_size;
	data = malloc(size ? size : 1);
	if (!data || fread(data, 1, size, f) != size)
		die(path);
	fclose(f);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
}

static int replay_corpus(const char *name)
{
	const char *srcdir = getenv("srcdir");
	struct dirent *entry;
	int files = 0;
	char *folder;
	DIR *dir;

	if (asprintf(&folder, "%s/testing/fuzz/corpus/%s", srcdir ? srcdir : ".", name) < 0)
		die(name);
	dir = opendir(folder);
	if (!dir)
		die(folder);
	while ((entry = readdir(dir))) {
		char *path;

		if (entry->d_name[0] == '.')
			continue;
		if (asprintf(&path, "%s/%s", folder, entry->d_name) < 0)
			die(folder);
		replay_file(path);
		free(path);
		files++;
	}
	closedir(dir);
	free(folder);
	return files;
}

int main(int argc, char **argv)
{
	const char *name = strstr(basename(argv[0]), "fuzz_");
	uint8_t *nothing = calloc(1, 1);
	int files = 0;

	if (!nothing)
		die("calloc");
	LLVMFuzzerTestOneInput(nothing, 0);
	free(nothing);
	for (int i = 1; i < argc; i++, files++)
		replay_file(argv[i]);
	if (argc == 1)
		files = replay_corpus(name ? name + strlen("fuzz_") : basename(argv[0]));
	printf("%d inputs\n", files);
	return files ? EXIT_SUCCESS : EXIT_FAILURE;
}
