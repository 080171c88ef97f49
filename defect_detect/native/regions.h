/* Run lengths as COCO writes them. */
#ifndef DEFECT_DETECT_REGIONS_H
#define DEFECT_DETECT_REGIONS_H

#include "native.h"

/* The foreground's area where `counts` are just as this package writes them and cover `pixels`: no run of 0 but the first,
   no character too many. Otherwise -1. */
int64_t canonical_area(const unsigned char *counts, size_t length, int64_t pixels);

#endif
