#include "ids.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

#define TOKEN_LENGTH 360

static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void fill_random(unsigned char *bytes, size_t size)
{
	if (RAND_bytes(bytes, (int)size) == 1)
		return;
	fputs("dsec-test-iam: no randomness\n", stderr);
	abort();
}

/* `digits` has a power of two of characters: no remainder favours some. */
static char *random_digits(const char *prefix, size_t length, const char *digits)
{
	unsigned char bytes[TOKEN_LENGTH];
	size_t n_digits = strlen(digits);
	struct text ret = {0};

	text_add(&ret, prefix);
	fill_random(bytes, length);
	for (size_t i = 0; i < length; i++)
		text_add_bytes(&ret, &digits[bytes[i] & (n_digits - 1)], 1);
	return text_take(&ret);
}

char *id_new(const char *prefix)
{
	return random_digits(prefix, ID_SUFFIX, base32);
}

char *id_secret(void)
{
	return random_digits("", SECRET_LENGTH, base64);
}

char *id_token(void)
{
	return random_digits("", TOKEN_LENGTH, base64);
}

char *id_request(void)
{
	unsigned char b[16];

	fill_random(b, sizeof(b));
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	return must_printf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
			   b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11],
			   b[12], b[13], b[14], b[15]);
}
