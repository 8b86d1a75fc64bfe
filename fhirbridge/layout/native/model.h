/* Models: as fhirbridge.records.base.filler makes them. */

static PyObject *no_arguments;             /* () */
static newfunc new_object, new_text;       /* object.__new__, str.__new__ */
static PyObject *slots[4];                 /* the slots of a pydantic model */
static descrsetfunc set_slot[4];

static PyObject *
filled(PyObject *model, PyObject *values, PyObject *given)
{
    PyObject *held[4] = {values, given, Py_None, Py_None};
    PyObject *made = new_object((PyTypeObject *)model, no_arguments, NULL);
    int index;
    if (made == NULL) {
        return NULL;
    }
    for (index = 0; index < 4; index++) {
        if (set_slot[index] == NULL || set_slot[index](slots[index], made, held[index]) < 0) {
            if (!PyErr_Occurred()) {
                PyErr_SetString(PyExc_RuntimeError, "the slots of a model are not known");
            }
            Py_DECREF(made);
            return NULL;
        }
    }
    return made;
}
