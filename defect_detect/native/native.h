/* What the files of this extension share. Nothing here trusts its caller: every length and index is checked. */
#ifndef DEFECT_DETECT_NATIVE_H
#define DEFECT_DETECT_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The buffers one call holds; `close_columns` gives all of them back. */
#define MOST_COLUMNS 20
typedef struct {
    Py_buffer view[MOST_COLUMNS];
    int count;
} Columns;

/* Open `object` as `rows` (-1: as many as it has) rows of `width` values of `kind`: i int64, f float64, b bool,
   u uint64. Returns the first value, or NULL with an exception set. An empty column gives a pointer not to be read. */
void *open_column(Columns *columns, PyObject *object, char kind, Py_ssize_t rows, int width, bool writable);
Py_ssize_t rows_of(const Columns *columns, int width);
void close_columns(Columns *columns);

/* Whether all `count` values lie in [0, limit); sets ValueError if not. */
bool within(const int64_t *values, Py_ssize_t count, int64_t limit, const char *name);

/* Rows grouped by a key: the rows of key k, ascending, are rows[start[k]] to rows[start[k + 1] - 1]. */
typedef struct {
    int64_t *start;
    int64_t *rows;
} Groups;
bool group_rows(Groups *groups, const int64_t *key, Py_ssize_t count, int64_t keys);
void free_groups(Groups *groups);

/* What rows are sorted by: label (where given) ascending, score descending (where given), box ascending, then
   `last` (where given) ascending; stable. */
typedef struct {
    const int64_t *label;
    const double *score;
    const double *box;
    const int64_t *last;
} Keys;
void sort_rows(int64_t *rows, int64_t *spare, Py_ssize_t count, const Keys *keys);

/* Growing storage that becomes a bytearray; `owner` is that bytearray where the storage is a large one's already. */
typedef struct {
    char *data;
    size_t used;
    size_t room;
    PyObject *owner;
} Buffer;
bool reserve(Buffer *buffer, size_t more);
PyObject *as_bytearray(Buffer *buffer);
void release(Buffer *buffer);

PyObject *native_greedy(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_assign(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_near_alike(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_same_ids(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_shared_budget(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_near(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_coco_order(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_coco_fates(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_coco_curves(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_scan(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_scan_lists(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_scan_loosely(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_texts(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_wide(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_equal_texts(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_lead_inside(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_rows_of(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_said_right(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_settle(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_number(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_canonical_counts(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_run_lengths(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_stretches(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_shared_pixels(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_crossing(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_extents(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *native_order_rows(PyObject *self, PyObject *const *arguments, Py_ssize_t count);

#endif
