/* placeholder until the room's first file lands */ extern int prle_augment_room;
int prle_augment_room;
