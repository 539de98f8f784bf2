#include "lease/owner.h"

#include <unistd.h>

static struct {
	bool set;
	uid_t uid, worker_uid;
	gid_t gid;
} owner;

void owner_set(uid_t uid, gid_t gid, uid_t worker_uid)
{
	owner.uid = uid;
	owner.gid = gid;
	owner.worker_uid = worker_uid;
	owner.set = true;
}

uid_t owner_uid(void)
{
	return owner.set ? owner.uid : geteuid();
}

gid_t owner_gid(void)
{
	return owner.set ? owner.gid : getegid();
}

bool owner_may_have(uid_t uid)
{
	if (uid == owner_uid() || (owner.set && uid == owner.worker_uid))
		return true;
	return owner_uid() == 0 && uid >= OWNER_WORKER_UID_FIRST &&
	       uid < OWNER_WORKER_UID_FIRST + OWNER_WORKER_UIDS;
}
