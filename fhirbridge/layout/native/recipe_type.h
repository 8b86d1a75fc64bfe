/* The type of recipes, and the functions that make one. */

static int
recipe_traverse(Recipe *self, visitproc visit, void *arg)
{
    Py_ssize_t index;
    Py_VISIT(Py_TYPE(OBJECT(self)));
    Py_VISIT(self->ask);
    Py_VISIT(self->type);
    Py_VISIT(self->cache);
    Py_VISIT(self->template);
    Py_VISIT(self->given);
    Py_VISIT(self->checks);
    for (index = 0; index < self->count; index++) {
        Py_VISIT(self->parts[index]);
    }
    return 0;
}

/* A recipe is made of what was there before it and never changes, so a circle goes through something else, which the
 * collector clears: there is no tp_clear that could leave a recipe half empty. */
static void
recipe_dealloc(Recipe *self)
{
    PyTypeObject *type = Py_TYPE(OBJECT(self));
    freefunc release = PyType_GetSlot(type, Py_tp_free);
    Py_ssize_t index;
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->ask);
    Py_XDECREF(self->type);
    Py_XDECREF(self->cache);
    Py_XDECREF(self->template);
    Py_XDECREF(self->given);
    Py_XDECREF(self->checks);
    for (index = 0; index < self->count; index++) {
        if (self->keys != NULL) {
            Py_XDECREF(self->keys[index]);
        }
        Py_XDECREF(OBJECT(self->parts[index]));
    }
    PyMem_Free(self->keys);
    PyMem_Free(self->indices);
    PyMem_Free(self->parts);
    release(self);
    Py_DECREF(type);
}

static Recipe *
new_recipe(int op)
{
    allocfunc alloc = PyType_GetSlot(RecipeType, Py_tp_alloc);
    Recipe *self = (Recipe *)alloc(RecipeType, 0);
    if (self != NULL) {
        self->op = op;
        self->place = -1;
    }
    return self;
}

static PyObject *
or_null(PyObject *thing)
{
    if (thing == Py_None) {
        return NULL;
    }
    Py_INCREF(thing);
    return thing;
}

static int
is_or_none(PyObject *thing, int fits, const char *wanted)
{
    if (thing == Py_None || fits) {
        return 1;
    }
    PyErr_Format(PyExc_TypeError, "%s or None is wanted", wanted);
    return 0;
}

static int
is_str_class(PyObject *thing)
{
    return PyType_Check(thing) && PyType_IsSubtype((PyTypeObject *)thing, &PyUnicode_Type);
}

/* text(place, ask, rule, limit, type, cache) */
static PyObject *
leaf_text(PyObject *module, PyObject *args)
{
    Py_ssize_t place, limit;
    int rule;
    PyObject *ask, *type, *cache;
    Recipe *self;
    if (!PyArg_ParseTuple(args, "nOinOO:text", &place, &ask, &rule, &limit, &type, &cache)) {
        return NULL;
    }
    if (place < 0 || place == PY_SSIZE_T_MAX || rule < 0 || rule >= RULES || !PyCallable_Check(ask)) {
        PyErr_SetString(PyExc_ValueError, "a place, a function and a rule are wanted");
        return NULL;
    }
    if (!is_or_none(type, is_str_class(type), "a class of str") ||
        !is_or_none(cache, PyDict_Check(cache), "a dict")) {
        return NULL;
    }
    self = new_recipe(TEXT);
    if (self == NULL) {
        return NULL;
    }
    self->place = place;
    self->places = place + 1;
    self->rule = rule;
    self->limit = limit;
    self->ask = or_null(ask);
    self->type = or_null(type);
    self->cache = or_null(cache);
    return (PyObject *)self;
}

/* Take the parts: pairs of a name or a position, and a recipe. */
static int
take_parts(Recipe *self, PyObject *parts, Py_ssize_t size)
{
    Py_ssize_t index, count = PyTuple_Size(parts), last = -1;
    self->parts = PyMem_Calloc((size_t)count + 1, sizeof(Recipe *));
    if (self->op == MODEL) {
        self->keys = PyMem_Calloc((size_t)count + 1, sizeof(PyObject *));
    }
    else {
        self->indices = PyMem_Calloc((size_t)count + 1, sizeof(Py_ssize_t));
    }
    if (self->parts == NULL || (self->keys == NULL && self->indices == NULL)) {
        PyErr_NoMemory();
        return -1;
    }
    for (index = 0; index < count; index++) {
        PyObject *key, *part;
        if (!PyArg_ParseTuple(PyTuple_GetItem(parts, index), "OO!:part", &key, RecipeType, &part)) {
            return -1;
        }
        if (self->op == MODEL) {
            if (!PyUnicode_CheckExact(key)) {
                PyErr_SetString(PyExc_TypeError, "a name is wanted");
                return -1;
            }
            Py_INCREF(key);
            self->keys[index] = key;
        }
        else {
            Py_ssize_t position = PyLong_AsSsize_t(key);
            if (position == -1 && PyErr_Occurred()) {
                return -1;
            }
            if (position <= last || position >= size) {
                PyErr_SetString(PyExc_ValueError, "positions ascend and lie in the tuple");
                return -1;
            }
            last = self->indices[index] = position;
        }
        Py_INCREF(part);
        self->parts[index] = (Recipe *)part;
        self->count = index + 1;
        if (self->parts[index]->places > self->places) {
            self->places = self->parts[index]->places;
        }
        if (self->parts[index]->depth >= self->depth) {
            self->depth = self->parts[index]->depth + 1;
        }
    }
    if (self->depth > MOST_DEPTH) {
        PyErr_SetString(PyExc_ValueError, "nested too deeply");
        return -1;
    }
    return 0;
}

/* model(type, given, checks, ask, template, parts, place, cache) */
static PyObject *
leaf_model(PyObject *module, PyObject *args)
{
    PyObject *type, *template, *parts, *given, *checks, *ask, *cache;
    Py_ssize_t place;
    Recipe *self;
    if (!PyArg_ParseTuple(args, "OOO!OO!O!nO:model", &type, &given, &PyTuple_Type, &checks, &ask, &PyDict_Type,
                          &template, &PyTuple_Type, &parts, &place, &cache)) {
        return NULL;
    }
    if (!PyType_Check(type)) {
        PyErr_SetString(PyExc_TypeError, "a model is wanted");
        return NULL;
    }
    if (!is_or_none(cache, PyDict_Check(cache), "a dict") ||
        !is_or_none(ask, PyCallable_Check(ask), "a function")) {
        return NULL;
    }
    self = new_recipe(MODEL);
    if (self == NULL) {
        return NULL;
    }
    self->type = or_null(type);
    self->template = PyDict_Copy(template);
    self->given = or_null(given);
    self->checks = or_null(checks);
    self->ask = or_null(ask);
    self->cache = or_null(cache);
    self->place = place;
    if (self->template == NULL || take_parts(self, parts, 0) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    if (self->cache != NULL && (place < 0 || place >= self->places)) {
        PyErr_SetString(PyExc_ValueError, "what is remembered has a place");
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

/* items(template, parts) */
static PyObject *
leaf_items(PyObject *module, PyObject *args)
{
    PyObject *template, *parts;
    Recipe *self;
    if (!PyArg_ParseTuple(args, "O!O!:items", &PyTuple_Type, &template, &PyTuple_Type, &parts)) {
        return NULL;
    }
    self = new_recipe(TUPLE);
    if (self == NULL) {
        return NULL;
    }
    self->template = or_null(template);
    if (take_parts(self, parts, PyTuple_Size(template)) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}
