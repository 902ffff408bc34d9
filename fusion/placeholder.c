/* placeholder until the room's first file lands */ extern int prle_fusion_room;
int prle_fusion_room;
