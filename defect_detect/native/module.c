/* The functions that Python sees; what each takes stands above it. */
#include "native.h"

#define ENTRY(name) {#name, (PyCFunction)(void (*)(void))native_##name, METH_FASTCALL, NULL}

static PyMethodDef functions[] = {
    ENTRY(greedy),
    ENTRY(near),
    ENTRY(coco_order),
    ENTRY(coco_fates),
    ENTRY(coco_curves),
    ENTRY(scan),
    ENTRY(scan_loosely),
    ENTRY(number),
    ENTRY(canonical_counts),
    ENTRY(stretches),
    ENTRY(run_lengths),
    ENTRY(shared_pixels),
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "defect_detect.native._compiled",
    .m_size = 0,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__compiled(void) { return PyModuleDef_Init(&module); }
