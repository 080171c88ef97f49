/* One budget shared by two tables (`evaluation.shared_budget`). */
#include "native.h"

/* shared_budget(value, more, sums, hardly, never, best, share)

   value, more (R, sums) int64: what each sum of money buys of either, `never` where nothing; from -2**62 to 2**62 - 1. Fills
   best with what it buys of both and share with how much of it goes to the second, the least of equals. A best of `hardly`
   or less becomes `never`. */
PyObject *native_shared_budget(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    if (count != 7) return PyErr_Format(PyExc_TypeError, "shared_budget takes 7 arguments, not %zd", count);
    Columns columns = {0};
    PyObject *result = NULL;
    const int64_t *value, *more;
    int64_t *best, *share;
    if (!(value = open_column(&columns, arguments[0], 'i', -1, 1, false))) goto end;
    Py_ssize_t cells = rows_of(&columns, 1);
    if (!(more = open_column(&columns, arguments[1], 'i', cells, 1, false))) goto end;
    long long sums = PyLong_AsLongLong(arguments[2]);
    long long hardly = PyLong_AsLongLong(arguments[3]), never = PyLong_AsLongLong(arguments[4]);
    if (PyErr_Occurred()) goto end;
    if (!(best = open_column(&columns, arguments[5], 'i', cells, 1, true))) goto end;
    if (!(share = open_column(&columns, arguments[6], 'i', cells, 1, true))) goto end;
    if (sums < 1 || cells % sums != 0) {
        PyErr_SetString(PyExc_ValueError, "rows of another length");
        goto end;
    }
    const int64_t most = (int64_t)1 << 62;
    for (Py_ssize_t i = 0; i < cells; i++) {
        if (value[i] < -most || value[i] >= most || more[i] < -most || more[i] >= most) {
            PyErr_SetString(PyExc_ValueError, "a value that can't be added");
            goto end;
        }
    }
    for (Py_ssize_t row = 0; row < cells; row += (Py_ssize_t)sums) {
        const int64_t *own = value + row, *other = more + row;
        int64_t *to = best + row, *part = share + row;
        for (long long sum = 0; sum < sums; sum++) {
            to[sum] = own[sum] + other[0];
            part[sum] = 0;
        }
        for (long long cost = 1; cost < sums; cost++) {
            /* Who may spend one more and gains nothing by it needn't try. */
            if (other[cost] == other[cost - 1]) continue;
            const int64_t extra = other[cost];
            for (long long sum = cost; sum < sums; sum++) {
                int64_t tried = own[sum - cost] + extra;
                bool better = tried > to[sum];
                to[sum] = better ? tried : to[sum];
                part[sum] = better ? cost : part[sum];
            }
        }
        for (long long sum = 0; sum < sums; sum++)
            if (to[sum] <= hardly) to[sum] = never;
    }
    result = Py_NewRef(Py_None);
end:
    close_columns(&columns);
    return result;
}
