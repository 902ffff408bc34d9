/* report.h - the answer of `prle eval` as people, programs and other tools read it: a table, JSON, scores.csv. */
#pragma once
#include "core/json.h"
#include "jobs/eval/answer.h"

/** Frames and videos of all fakes and of each group (or, without groups, each method), a row each; columns that say the same
 * everywhere are left out. *text is yours to prle_free. */
PRLE_NODISCARD prle_status prle_eval_table(char **text, const prle_eval_row *rows, int64_t n_rows,
                                           const prle_eval_question *question);

/** A list "sets" with everything in it, into an open object. score_files [n_sets]: where scores.csv of each lies, or NULL. */
void prle_eval_json(prle_json_writer *json, const prle_eval_row *rows, int64_t n_rows, const prle_eval_question *question,
                    char *const *score_files);

/**
 * image,video,frame,identity,method,label,score: one line an image of the set, ascending; scores read back as the same doubles,
 * unknown identities are empty. *text is yours to prle_free.
 */
PRLE_NODISCARD prle_status prle_eval_csv(char **text, const prle_eval_set *set);

/** "scores-MODEL-DATA-alpha0.3.csv", without the parts that are the same for all sets; prle_free it. */
PRLE_NODISCARD prle_status prle_eval_csv_name(char **name, const prle_eval_set *set, const prle_eval_question *question);
