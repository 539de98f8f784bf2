/*
 * readonly.c: the mount is read-only, so the kernel answers EROFS by itself; and so do we where an
 * administrator has remounted it read-write, instead of the ENOSYS that libfuse would answer.
 */
#include <errno.h>

#include "fs/fs_private.h"

static void refuse_setattr(fuse_req_t req, fuse_ino_t id, struct stat *attr, int to_set,
			   struct fuse_file_info *info)
{
	fuse_reply_err(req, EROFS);
}

static void refuse_mknod(fuse_req_t req, fuse_ino_t folder, const char *name, mode_t mode,
			 dev_t device)
{
	fuse_reply_err(req, EROFS);
}

static void refuse_mkdir(fuse_req_t req, fuse_ino_t folder, const char *name, mode_t mode)
{
	fuse_reply_err(req, EROFS);
}

static void refuse_removal(fuse_req_t req, fuse_ino_t folder, const char *name)
{
	fuse_reply_err(req, EROFS);
}

static void refuse_symlink(fuse_req_t req, const char *target, fuse_ino_t folder, const char *name)
{
	fuse_reply_err(req, EROFS);
}

static void refuse_rename(fuse_req_t req, fuse_ino_t folder, const char *name,
			  fuse_ino_t new_folder, const char *new_name, unsigned flags)
{
	fuse_reply_err(req, EROFS);
}

static void refuse_link(fuse_req_t req, fuse_ino_t id, fuse_ino_t folder, const char *name)
{
	fuse_reply_err(req, EROFS);
}

static void refuse_create(fuse_req_t req, fuse_ino_t folder, const char *name, mode_t mode,
			  struct fuse_file_info *info)
{
	fuse_reply_err(req, EROFS);
}

static void refuse_setxattr(fuse_req_t req, fuse_ino_t id, const char *name, const char *value,
			    size_t size, int flags)
{
	fuse_reply_err(req, EROFS);
}

static void refuse_removexattr(fuse_req_t req, fuse_ino_t id, const char *name)
{
	fuse_reply_err(req, EROFS);
}

void readonly_refuse(struct fuse_lowlevel_ops *ops)
{
	ops->setattr = refuse_setattr;
	ops->mknod = refuse_mknod;
	ops->mkdir = refuse_mkdir;
	ops->unlink = refuse_removal;
	ops->rmdir = refuse_removal;
	ops->symlink = refuse_symlink;
	ops->rename = refuse_rename;
	ops->link = refuse_link;
	ops->create = refuse_create;
	ops->setxattr = refuse_setxattr;
	ops->removexattr = refuse_removexattr;
}
