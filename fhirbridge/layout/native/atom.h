/* Atom: a member of a resource or an item of its extension. */

typedef struct {
    PyObject_HEAD
    Py_ssize_t slots;
    int in_extension;
    Py_ssize_t rule; /* -1: none, as of the resource id */
    PyObject *claimed; /* of meta: the profiles that stand there; else NULL */
    PyObject *facts;
    Node *likely;    /* where what came after it the last time begins */
} Atom;

static PyTypeObject *AtomType, *NodeType;

/* Atom(slots, in_extension, rule, claimed, facts) */
static PyObject *
atom_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Py_ssize_t count, rule;
    int in_extension;
    PyObject *claimed, *facts;
    Atom *self;
    if (!PyArg_ParseTuple(args, "npnOO:Atom", &count, &in_extension, &rule, &claimed, &facts)) {
        return NULL;
    }
    if (count < 0 || rule < -1) {
        PyErr_SetString(PyExc_ValueError, "no such atom");
        return NULL;
    }
    self = (Atom *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (self != NULL) {
        self->slots = count;
        self->in_extension = in_extension;
        self->rule = rule;
        self->claimed = or_null(claimed);
        self->facts = or_null(facts);
    }
    return OBJECT(self);
}

static int
atom_traverse(Atom *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(OBJECT(self)));
    Py_VISIT(self->claimed);
    Py_VISIT(self->facts);
    Py_VISIT(self->likely);
    return 0;
}

/* What came after it may lead back to it. */
static int
atom_clear(Atom *self)
{
    Py_CLEAR(self->likely);
    return 0;
}

static void
atom_dealloc(Atom *self)
{
    PyTypeObject *type = Py_TYPE(OBJECT(self));
    freefunc release = PyType_GetSlot(type, Py_tp_free);
    PyObject_GC_UnTrack(self);
    atom_clear(self);
    Py_XDECREF(self->claimed);
    Py_XDECREF(self->facts);
    release(self);
    Py_DECREF(type);
}
