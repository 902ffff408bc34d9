/* commands.c - the commands of prle, in the order of the way of the data. */
#include "jobs/command.h"

extern const prle_command prle_command_bench;
extern const prle_command prle_command_cam;
extern const prle_command prle_command_doctor;
extern const prle_command prle_command_eval;
extern const prle_command prle_command_export;
extern const prle_command prle_command_forge;
extern const prle_command prle_command_fuse;
extern const prle_command prle_command_import;
extern const prle_command prle_command_inspect;
extern const prle_command prle_command_pack;
extern const prle_command prle_command_predict;
extern const prle_command prle_command_show;
extern const prle_command prle_command_train;

/* clang-format off */
const prle_command *const prle_commands[] = {
    &prle_command_forge,
    &prle_command_pack,
    &prle_command_import,
    &prle_command_train,
    &prle_command_cam,
    &prle_command_fuse,
    &prle_command_eval,
    &prle_command_predict,
    &prle_command_show,
    &prle_command_export,
    &prle_command_inspect,
    &prle_command_bench,
    &prle_command_doctor,
    NULL,
};
/* clang-format on */
