/*
 * door_packet.h: one packet through the door, as both sides send and receive it.
 */
#ifndef DSEC_FS_DOOR_PACKET_H
#define DSEC_FS_DOOR_PACKET_H

#include "fs/door.h"

/* Sends a message with a descriptor (-1: none), which stays the caller's. 0, -EPIPE when the other
 * side is gone, or another negative errno. */
int door_send(int fd, const struct door_message *message, int descriptor);

/* 0 and a message that is whole (its text, if it has any, may be bytes: who wants a text asks
 * door_text); *ret_descriptor is -1 where none came. -EAGAIN: none is there. -EBADMSG: one that is
 * none, which is gone. -EPIPE: the other side is gone. */
int door_receive(int fd, struct door_message *ret, int *ret_descriptor);

/* The message's text; NULL where it has none, or none that ends with its only NUL. */
const char *door_text(const struct door_message *message);

#endif
