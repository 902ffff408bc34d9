/* placeholder until the room's first file lands */ extern int prle_cam_room;
int prle_cam_room;
