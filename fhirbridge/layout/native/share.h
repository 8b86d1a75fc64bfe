/* Share: what a group of rules makes of its atoms. */

enum { EQUAL, BEGINS, HOLDS, CONDITIONS };

typedef struct {
    int what;
    Py_ssize_t one, other; /* two slots of the group; BEGINS: `one` is the first `length` bytes of `other` */
    Py_ssize_t length;
    int answer;
    char needle; /* HOLDS: whether slot `one` holds this byte */
} Condition;

typedef struct {
    PyObject *name;
    Recipe *recipe;
} Field;

typedef struct {
    PyObject_HEAD
    PyObject *constant;
    Py_ssize_t slots, count, conditions;
    Field *fields;
    Condition *asked;
} Share;

static PyTypeObject *ShareType;

static int
holds(const Condition *one, const Frame *frame)
{
    const Span *first = span_at(frame, one->one), *second = span_at(frame, one->other);
    Py_ssize_t length = second->length;
    switch (one->what) {
    case BEGINS:
        length = length < one->length ? length : one->length;
        return first->length == length && memcmp(first->text, second->text, (size_t)length) == 0;
    case HOLDS:
        return (memchr(first->text, one->needle, (size_t)first->length) != NULL) == one->answer;
    default:
        return (first->length == length && memcmp(first->text, second->text, (size_t)length) == 0) == one->answer;
    }
}

static int
share_holds(const Share *self, const Frame *frame)
{
    Py_ssize_t index;
    for (index = 0; index < self->conditions; index++) {
        if (!holds(&self->asked[index], frame)) {
            return 0;
        }
    }
    return 1;
}

/* Put the fields that vary into values: 0, or -1 with an exception. */
static int
share_fill(const Share *self, const Frame *frame, PyObject *values)
{
    Py_ssize_t index;
    for (index = 0; index < self->count; index++) {
        PyObject *made = build(self->fields[index].recipe, frame);
        if (made == NULL) {
            return -1;
        }
        if (PyDict_SetItem(values, self->fields[index].name, made) < 0) {
            Py_DECREF(made);
            return -1;
        }
        Py_DECREF(made);
    }
    return 0;
}

static int
share_traverse(Share *self, visitproc visit, void *arg)
{
    Py_ssize_t index;
    Py_VISIT(Py_TYPE(OBJECT(self)));
    Py_VISIT(self->constant);
    for (index = 0; index < self->count; index++) {
        Py_VISIT(self->fields[index].recipe);
    }
    return 0;
}

static void
share_dealloc(Share *self)
{
    PyTypeObject *type = Py_TYPE(OBJECT(self));
    freefunc release = PyType_GetSlot(type, Py_tp_free);
    Py_ssize_t index;
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->constant);
    for (index = 0; index < self->count; index++) {
        Py_XDECREF(self->fields[index].name);
        Py_XDECREF(OBJECT(self->fields[index].recipe));
    }
    PyMem_Free(self->fields);
    PyMem_Free(self->asked);
    release(self);
    Py_DECREF(type);
}

static int
in_slots(Py_ssize_t place, Py_ssize_t slots)
{
    if (place >= 0 && place < slots) {
        return 1;
    }
    PyErr_SetString(PyExc_ValueError, "a place lies outside of the slots");
    return 0;
}

static int
share_take(Share *self, PyObject *fields, PyObject *conditions)
{
    Py_ssize_t index, count = PyTuple_Size(fields), asked = PyTuple_Size(conditions);
    self->fields = PyMem_Calloc((size_t)count + 1, sizeof(Field));
    self->asked = PyMem_Calloc((size_t)asked + 1, sizeof(Condition));
    if (self->fields == NULL || self->asked == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (index = 0; index < count; index++) {
        PyObject *name, *recipe;
        if (!PyArg_ParseTuple(PyTuple_GetItem(fields, index), "UO!:field", &name, RecipeType, &recipe)) {
            return -1;
        }
        if (((Recipe *)recipe)->places > self->slots) {
            PyErr_SetString(PyExc_ValueError, "a recipe asks for more places than the group has");
            return -1;
        }
        Py_INCREF(name);
        Py_INCREF(recipe);
        self->fields[index].name = name;
        self->fields[index].recipe = (Recipe *)recipe;
        self->count = index + 1;
    }
    for (index = 0; index < asked; index++) {
        Condition *one = &self->asked[index];
        if (!PyArg_ParseTuple(PyTuple_GetItem(conditions, index), "innnpc:condition", &one->what, &one->one,
                              &one->other, &one->length, &one->answer, &one->needle)) {
            return -1;
        }
        if (!in_slots(one->one, self->slots) || !in_slots(one->other, self->slots)) {
            return -1;
        }
        if (one->what < 0 || one->what >= CONDITIONS || one->length < 0) {
            PyErr_SetString(PyExc_ValueError, "no such condition");
            return -1;
        }
    }
    self->conditions = asked;
    return 0;
}

/* share(slots, constant, fields, conditions): fields are pairs of a name and a recipe, conditions tuples of
 * (what, one, other, length, answer, needle). */
static PyObject *
leaf_share(PyObject *module, PyObject *args)
{
    PyObject *constant, *fields, *conditions;
    Py_ssize_t count;
    Share *self;
    if (!PyArg_ParseTuple(args, "nO!O!O!:share", &count, &PyDict_Type, &constant, &PyTuple_Type, &fields,
                          &PyTuple_Type, &conditions)) {
        return NULL;
    }
    self = (Share *)((allocfunc)PyType_GetSlot(ShareType, Py_tp_alloc))(ShareType, 0);
    if (self == NULL) {
        return NULL;
    }
    self->slots = count;
    self->constant = PyDict_Copy(constant);
    if (self->constant == NULL || share_take(self, fields, conditions) < 0) {
        Py_DECREF(OBJECT(self));
        return NULL;
    }
    return OBJECT(self);
}
