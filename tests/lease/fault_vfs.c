#include "fault_vfs.h"

#include <assert.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

static sqlite3_vfs *unix_vfs, fault_vfs;
static sqlite3_io_methods unix_methods;

static atomic_int n_operations, first_faulty, fault_code, sync_code;

/* SQLITE_OK: go on as if nothing were. */
static int next_fault(void)
{
	int n = atomic_fetch_add(&n_operations, 1) + 1;
	int first = atomic_load(&first_faulty);

	return first > 0 && n >= first ? atomic_load(&fault_code) : SQLITE_OK;
}

static int die_or_fail(int code)
{
	if (code == FAULT_KILL)
		raise(SIGKILL);
	return code;
}

static int fault_write(sqlite3_file *file, const void *bytes, int n, sqlite3_int64 at)
{
	int code = next_fault();
	if (code == FAULT_KILL)
		unix_methods.xWrite(file, bytes, n / 2, at);
	return code == SQLITE_OK ? unix_methods.xWrite(file, bytes, n, at) : die_or_fail(code);
}

static int fault_sync(sqlite3_file *file, int flags)
{
	int code = next_fault();
	if (code == SQLITE_OK)
		code = atomic_load(&sync_code);
	return code == SQLITE_OK ? unix_methods.xSync(file, flags) : die_or_fail(code);
}

static int fault_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	int code = next_fault();
	return code == SQLITE_OK ? unix_methods.xTruncate(file, size) : die_or_fail(code);
}

static int fault_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	int code = next_fault();
	return code == SQLITE_OK ? unix_vfs->xDelete(unix_vfs, name, sync) : die_or_fail(code);
}

/* The file is SQLite's own, with a table of methods in which three are ours. There is one table for
 * databases and one for what needs no locks. */
static int fault_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
		      int *ret_flags)
{
	static sqlite3_io_methods with_locks, without_locks;

	int code = unix_vfs->xOpen(unix_vfs, name, file, flags, ret_flags);
	if (code != SQLITE_OK || !file->pMethods)
		return code;
	sqlite3_io_methods *methods = flags & SQLITE_OPEN_MAIN_DB ? &with_locks : &without_locks;
	*methods = *file->pMethods;
	assert(!unix_methods.xWrite || unix_methods.xWrite == methods->xWrite);
	unix_methods = *methods;
	methods->xWrite = fault_write;
	methods->xSync = fault_sync;
	methods->xTruncate = fault_truncate;
	file->pMethods = methods;
	return code;
}

void fault_vfs_register(void)
{
	if (unix_vfs)
		return;
	unix_vfs = sqlite3_vfs_find(NULL);
	fault_vfs = *unix_vfs;
	fault_vfs.zName = "fault";
	fault_vfs.xOpen = fault_open;
	fault_vfs.xDelete = fault_delete;
	sqlite3_vfs_register(&fault_vfs, 1);
}

void fault_vfs_arm(int nth, int code)
{
	atomic_store(&n_operations, 0);
	atomic_store(&fault_code, code);
	atomic_store(&first_faulty, nth);
}

void fault_vfs_arm_syncs(int code)
{
	atomic_store(&sync_code, code);
}

int fault_vfs_disarm(void)
{
	atomic_store(&first_faulty, 0);
	atomic_store(&sync_code, SQLITE_OK);
	return atomic_load(&n_operations);
}
