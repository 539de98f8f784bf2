/*
 * asan.h: HAVE_ASAN, where this is built with AddressSanitizer.
 */
#ifndef DSEC_LEASE_ASAN_H
#define DSEC_LEASE_ASAN_H

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif

#endif
