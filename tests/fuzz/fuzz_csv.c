/* fuzz_csv.c - tables of landmarks and scores: every field as text and as a number. */
#include "core/alloc.h"
#include "core/csv.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    const int64_t live = prle_alloc_live();
    prle_csv csv = {0};
    double value;

    prle_status st = prle_csv_parse(&csv, "fuzz.csv", bytes, n_bytes);
    for (int64_t i = 0; st == PRLE_OK && i < csv.n_rows * csv.n_columns; i++) {
        const int64_t row = i / csv.n_columns, column = i % csv.n_columns;
        if (prle_csv_line(&csv, row) < 1 || prle_csv_text(&csv, row, column) == NULL)
            abort();
        fuzz_check(prle_csv_number(&csv, row, column, &value), "fuzz.csv:");
    }
    prle_csv_deinit(&csv);
    return fuzz_end(st, live, "fuzz.csv");
}
