#include "fs/request.h"

#include <linux/fuse.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static bool read_header(const void *bytes, size_t n, struct fuse_in_header *ret)
{
	if (n < sizeof(*ret))
		return false;
	memcpy(ret, bytes, sizeof(*ret));
	return ret->len >= sizeof(*ret) && ret->len <= n;
}

uint64_t request_unique(const void *bytes, size_t n)
{
	struct fuse_in_header header;

	return read_header(bytes, n, &header) ? header.unique : 0;
}

size_t request_size(const void *bytes, size_t n)
{
	struct fuse_in_header header;

	return read_header(bytes, n, &header) ? header.len : 0;
}

void request_clear(void *bytes)
{
	struct fuse_in_header *header = bytes;

	/* What was done for the request is done before it is gone. */
	atomic_thread_fence(memory_order_release);
	*(volatile uint32_t *)&header->len = 0;
	atomic_thread_fence(memory_order_release);
}

bool request_is_init(const void *bytes, size_t n)
{
	struct fuse_in_header header;

	return read_header(bytes, n, &header) && header.opcode == FUSE_INIT;
}

bool request_is_forget(const void *bytes, size_t n)
{
	struct fuse_in_header header;

	return read_header(bytes, n, &header) &&
	       (header.opcode == FUSE_FORGET || header.opcode == FUSE_BATCH_FORGET);
}

void request_refuse(int fuse_fd, const void *bytes, size_t n, int error)
{
	struct fuse_out_header out = {
		.len = sizeof(out),
		.error = -error,
		.unique = request_unique(bytes, n),
	};

	if (write(fuse_fd, &out, sizeof(out)) < 0)
		return; /* it was answered before */
}
