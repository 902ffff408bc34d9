/* commands.c - the commands of prle, in the order of the way of the data. */
#include "jobs/command.h"

extern const prle_command prle_command_doctor;

const prle_command *const prle_commands[] = {
    &prle_command_doctor,
    NULL,
};
