/* Frame of a record: what is the same for all records of a kind. */

typedef struct {
    PyObject *type, *given, *checks, *ask;
    PyObject *resource_id, *profiles, *untouchable, *quiet, *id_name;
} Whole;

static void
whole_release(Whole *self)
{
    Py_XDECREF(self->type);
    Py_XDECREF(self->given);
    Py_XDECREF(self->checks);
    Py_XDECREF(self->ask);
    Py_XDECREF(self->resource_id);
    Py_XDECREF(self->profiles);
    Py_XDECREF(self->untouchable);
    Py_XDECREF(self->quiet);
    Py_XDECREF(self->id_name);
}

static int
whole_traverse(Whole *self, visitproc visit, void *arg)
{
    Py_VISIT(self->type);
    Py_VISIT(self->given);
    Py_VISIT(self->checks);
    Py_VISIT(self->ask);
    Py_VISIT(self->resource_id);
    Py_VISIT(self->profiles);
    Py_VISIT(self->untouchable);
    Py_VISIT(self->quiet);
    return 0;
}

/* Take (type, given, checks, ask, resource_id, profiles, untouchable, quiet). */
static int
whole_take(Whole *self, PyObject *said)
{
    PyObject *type, *given, *checks, *ask, *resource_id, *profiles, *untouchable, *quiet;
    if (!PyArg_ParseTuple(said, "OOO!OOOOO!:whole", &type, &given, &PyTuple_Type, &checks, &ask, &resource_id,
                          &profiles, &untouchable, &PyTuple_Type, &quiet)) {
        return -1;
    }
    if (!PyType_Check(type) || !PyCallable_Check(resource_id) || !PyCallable_Check(profiles)) {
        PyErr_SetString(PyExc_TypeError, "a model, a function for its resource id and one for its profiles are wanted");
        return -1;
    }
    if (!is_or_none(ask, PyCallable_Check(ask), "a function")) {
        return -1;
    }
    self->type = or_null(type);
    self->given = or_null(given);
    self->checks = or_null(checks);
    self->ask = or_null(ask);
    self->resource_id = or_null(resource_id);
    self->profiles = or_null(profiles);
    self->untouchable = or_null(untouchable);
    self->quiet = or_null(quiet);
    self->id_name = PyUnicode_InternFromString("id");
    return self->id_name == NULL ? -1 : 0;
}

/* Whether the resource id is the one that the record's id gives: 1, 0, or -1 with an exception. */
static int
has_its_id(const Whole *self, PyObject *values, const Span *span)
{
    PyObject *own = PyDict_GetItemWithError(values, self->id_name), *wanted;
    const char *text;
    Py_ssize_t length;
    int same;
    if (own == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_KeyError, "id");
        }
        return -1;
    }
    Py_INCREF(own);
    wanted = PyObject_CallFunctionObjArgs(self->resource_id, own, NULL);
    Py_DECREF(own);
    if (wanted == NULL) {
        return -1;
    }
    text = PyUnicode_AsUTF8AndSize(wanted, &length);
    same = text == NULL ? -1 : length == span->length && memcmp(text, span->text, (size_t)length) == 0;
    Py_DECREF(wanted);
    return same;
}

/* Whether the record claims the profiles that stand in the resource: 1, 0, or -1 with an exception. */
static int
has_its_profiles(const Whole *self, PyObject *record, PyObject *claimed)
{
    PyObject *said;
    int same;
    said = PyObject_CallFunctionObjArgs(self->profiles, record, self->untouchable, NULL);
    if (said == NULL) {
        return -1;
    }
    same = PyObject_RichCompareBool(said, claimed, Py_EQ);
    Py_DECREF(said);
    return same;
}

/* The record of values, to which the reference is taken; NULL, perhaps with an exception, where it is not that of the
 * resource. */
static PyObject *
whole_record(const Whole *self, PyObject *values, const Span *id, PyObject *claimed)
{
    PyObject *record;
    if (has_its_id(self, values, id) != 1) {
        Py_DECREF(values);
        return NULL;
    }
    record = finished(self->ask, self->type, self->given, self->checks, values);
    if (record != NULL && has_its_profiles(self, record, claimed) != 1) {
        Py_CLEAR(record);
    }
    return record;
}

/* None in place of NULL and of an exception that means no more than that. */
static PyObject *
or_none(const Whole *self, PyObject *record)
{
    if (record == NULL) {
        if (PyErr_Occurred()) {
            if (!PyErr_ExceptionMatches(self->quiet)) {
                return NULL;
            }
            PyErr_Clear();
        }
        Py_RETURN_NONE;
    }
    return record;
}
