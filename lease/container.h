/*
 * container.h: which container a cgroup is, by the name that its runtime gives it.
 */
#ifndef DSEC_LEASE_CONTAINER_H
#define DSEC_LEASE_CONTAINER_H

#include <stdbool.h>
#include <stddef.h>

/* Names the container whose cgroup is `part` in `parent`, two parts of a path one after the other:
 * "docker:ID", "podman:ID", "containerd:ID", "crio:ID" or "lxc:NAME", cut at `size`. False when it
 * is none; `to` is not touched then. */
bool container_name(char *to, size_t size, const char *parent, const char *part);

#endif
