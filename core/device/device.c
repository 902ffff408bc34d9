/* device.c - what is the same for every device. */
#include "core/device/device.h"

prle_status prle_device_view(const prle_device *device, const void **out, const void *there, size_t n_bytes, void *room)
{
    *out = device->host_memory ? there : room;
    return device->host_memory ? PRLE_OK : device->copy_out(room, there, n_bytes);
}

prle_status prle_device_comm(const prle_device *device, prle_comm **out, prle_comm *host)
{
    if (device->comm_create != NULL && host->size > 1)
        return device->comm_create(out, host);
    PRLE_CHECK(device->host_memory || host->size == 1, PRLE_ENOTSUP, "%s: this build trains on one rank only", device->name);
    *out = host;
    return PRLE_OK;
}

void prle_device_comm_destroy(prle_comm *comm, const prle_comm *host)
{
    if (comm != host)
        prle_comm_destroy(comm);
}
