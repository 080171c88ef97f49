/* The functions that Python sees; what each takes stands above it. */
#include "native.h"

#define ENTRY(name) {#name, (PyCFunction)(void (*)(void))native_##name, METH_FASTCALL, NULL}

static PyMethodDef functions[] = {
    ENTRY(greedy),
    ENTRY(near),
    ENTRY(near_alike),
    ENTRY(assign),
    ENTRY(same_ids),
    ENTRY(shared_budget),
    ENTRY(coco_order),
    ENTRY(coco_fates),
    ENTRY(coco_curves),
    ENTRY(scan),
    ENTRY(scan_lists),
    ENTRY(scan_loosely),
    ENTRY(texts),
    ENTRY(wide),
    ENTRY(equal_texts),
    ENTRY(lead_inside),
    ENTRY(rows_of),
    ENTRY(said_right),
    ENTRY(settle),
    ENTRY(number),
    ENTRY(canonical_counts),
    ENTRY(stretches),
    ENTRY(run_lengths),
    ENTRY(shared_pixels),
    ENTRY(crossing),
    ENTRY(extents),
    ENTRY(order_rows),
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "defect_detect.native._compiled",
    .m_size = 0,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__compiled(void) { return PyModuleDef_Init(&module); }
