/* placeholder until the room's first file lands */ extern int prle_nets_room;
int prle_nets_room;
