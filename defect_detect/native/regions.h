/* Run lengths as COCO writes them. */
#ifndef DEFECT_DETECT_REGIONS_H
#define DEFECT_DETECT_REGIONS_H

#include "native.h"

/* The next run of `counts`, read as pycocotools' rleFrString does: six bits a character from '0', low ones first, five of
   data and one that says that more follow; from the fourth run on, differences to the run two before. */
typedef struct {
    const unsigned char *at;
    const unsigned char *end;
    int64_t last[2]; /* the runs before, the latest second */
    int64_t many;
    bool canonical; /* so far, each number took no more characters than it needs */
} Runs;

bool next_run(Runs *runs, int64_t *run);

/* The foreground's area where `counts` are just as this package writes them and cover `pixels`: no run of 0 but the first,
   no character too many. Otherwise -1. */
int64_t canonical_area(const unsigned char *counts, size_t length, int64_t pixels);

#endif
