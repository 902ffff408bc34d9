/* placeholder until the room's first file lands */ extern int prle_dist_room;
int prle_dist_room;
