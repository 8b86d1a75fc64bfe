/* Composer: records of atoms that combine freely. */

static PyObject *
composed_record(Composer *self, const Parts *parts, const Composition *made, PyObject *values)
{
    Py_ssize_t index, from = 0;
    Frame frame = {parts->found.spans, NULL};
    for (index = 0; index < made->count; index++) {
        const Share *share = (const Share *)PyTuple_GetItem(made->shares, index);
        frame.places = made->places + from;
        from += share->slots;
        if (!share_holds(share, &frame)) {
            Py_DECREF(values);
            return NULL;
        }
        if (PyDict_Update(values, share->constant) < 0 || share_fill(share, &frame, values) < 0) {
            Py_DECREF(values);
            return NULL;
        }
    }
    return whole_record(&self->whole, values, &parts->found.spans[made->id_place],
                        made->claimed == NULL ? no_arguments : made->claimed);
}

/* Whether such atoms are for this kind: 1, 0, or -1 with an exception. It is asked once. */
static int
is_claimed(Composer *self, PyObject *atoms)
{
    PyObject *judged, *known, *answer;
    int result;
    if (self->claims == NULL) {
        return 1;
    }
    known = PyDict_GetItemWithError(self->judged, atoms);
    if (known != NULL || PyErr_Occurred()) {
        return known == NULL ? -1 : known == Py_True;
    }
    /* While it is asked, something else may be learned: what is judged is put where it was looked for. */
    judged = self->judged;
    Py_INCREF(judged);
    answer = PyObject_CallFunctionObjArgs(self->claims, atoms, NULL);
    result = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    if (result >= 0 && PyDict_Size(judged) < MOST_JUDGED &&
        PyDict_SetItem(judged, atoms, result ? Py_True : Py_False) < 0) {
        result = -1;
    }
    Py_DECREF(judged);
    return result;
}

/* record(body, position): the record of a body whose first atom is there, or None. */
static PyObject *
composer_record(Composer *self, PyObject *args)
{
    PyObject *body, *atoms = NULL, *values, *record = NULL;
    Py_ssize_t position, index;
    int answer;
    Parts parts;
    Composition made = {NULL, 0, -1, NULL, NULL};
    if (!PyArg_ParseTuple(args, "Sn:record", &body, &position)) {
        return NULL;
    }
    if (position < 0 || position > PyBytes_Size(body)) {
        Py_RETURN_NONE;
    }
    parts.count = 0;
    found_begin(&parts.found);
    answer = split(self, PyBytes_AsString(body), PyBytes_Size(body), position, &parts);
    if (answer == 1) {
        answer = compose(self, &parts, &made);
    }
    if (answer != 1) {
        record = answer == 0 ? or_none(&self->whole, NULL) : NULL;
        goto done;
    }
    /* From here on Python code runs: what was borrowed is held, or was copied. */
    atoms = PyTuple_New(parts.count);
    values = atoms == NULL ? NULL : PyDict_Copy(self->absent);
    if (values == NULL) {
        goto done;
    }
    for (index = 0; index < parts.count; index++) {
        Py_INCREF(OBJECT(parts.atoms[index]));
        PyTuple_SetItem(atoms, index, OBJECT(parts.atoms[index]));
    }
    answer = is_claimed(self, atoms);
    if (answer == 1) {
        record = or_none(&self->whole, composed_record(self, &parts, &made, values));
    }
    else {
        Py_DECREF(values);
        record = answer == 0 ? or_none(&self->whole, NULL) : NULL;
    }
done:
    Py_XDECREF(atoms);
    for (index = 0; index < parts.count; index++) {
        Py_DECREF(OBJECT(parts.atoms[index]));
    }
    Py_XDECREF(made.shares);
    PyMem_Free(made.places);
    found_end(&parts.found);
    return record;
}

static void
exchange(PyObject **place, PyObject *thing)
{
    PyObject *before = *place;
    Py_INCREF(thing);
    *place = thing;
    Py_XDECREF(before);
}

/* know(groups, needed, shares, absent): what was learned. groups and needed have an entry for each rule. */
static PyObject *
composer_know(Composer *self, PyObject *args)
{
    PyObject *groups, *needed, *shares, *absent, *judged;
    Py_ssize_t index, count;
    int *new_groups;
    char *new_needed;
    if (!PyArg_ParseTuple(args, "O!O!O!O!:know", &PyTuple_Type, &groups, &PyTuple_Type, &needed, &PyDict_Type, &shares,
                          &PyDict_Type, &absent)) {
        return NULL;
    }
    count = PyTuple_Size(groups);
    if (PyTuple_Size(needed) != count) {
        PyErr_SetString(PyExc_ValueError, "an entry for each rule is wanted");
        return NULL;
    }
    new_groups = PyMem_Calloc((size_t)count + 1, sizeof(int));
    new_needed = PyMem_Calloc((size_t)count + 1, 1);
    judged = PyDict_New();
    if (new_groups == NULL || new_needed == NULL || judged == NULL) {
        PyErr_NoMemory();
        goto failed;
    }
    for (index = 0; index < count; index++) {
        Py_ssize_t group = PyLong_AsSsize_t(PyTuple_GetItem(groups, index));
        int is_needed = PyObject_IsTrue(PyTuple_GetItem(needed, index));
        if ((group == -1 && PyErr_Occurred()) || is_needed < 0 || !in_slots(group, count)) {
            goto failed;
        }
        new_groups[index] = (int)group;
        new_needed[index] = (char)is_needed;
    }
    PyMem_Free(self->groups);
    PyMem_Free(self->needed);
    self->groups = new_groups;
    self->needed = new_needed;
    self->rules = count;
    exchange(&self->shares, shares);
    exchange(&self->absent, absent);
    exchange(&self->judged, judged);
    Py_DECREF(judged);
    Py_RETURN_NONE;
failed:
    Py_XDECREF(judged);
    PyMem_Free(new_groups);
    PyMem_Free(new_needed);
    return NULL;
}

static int
composer_traverse(Composer *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(OBJECT(self)));
    Py_VISIT(self->members);
    Py_VISIT(self->items);
    Py_VISIT(self->claims);
    Py_VISIT(self->shares);
    Py_VISIT(self->absent);
    Py_VISIT(self->judged);
    return whole_traverse(&self->whole, visit, arg);
}

static int
composer_clear(Composer *self)
{
    /* By this a circle goes. Who is cleared is never asked again. */
    Py_CLEAR(self->claims);
    return 0;
}

static void
composer_dealloc(Composer *self)
{
    PyTypeObject *type = Py_TYPE(OBJECT(self));
    freefunc release = PyType_GetSlot(type, Py_tp_free);
    PyObject_GC_UnTrack(self);
    composer_clear(self);
    whole_release(&self->whole);
    Py_XDECREF(self->members);
    Py_XDECREF(self->items);
    Py_XDECREF(self->shares);
    Py_XDECREF(self->absent);
    Py_XDECREF(self->judged);
    PyMem_Free(self->groups);
    PyMem_Free(self->needed);
    release(self);
    Py_DECREF(type);
}

/* Composer(whole, members, items, claims) */
static PyObject *
composer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *said, *members, *items, *claims;
    Composer *self;
    if (!PyArg_ParseTuple(args, "O!O!O!O:Composer", &PyTuple_Type, &said, &PyDict_Type, &members, &PyDict_Type, &items,
                          &claims)) {
        return NULL;
    }
    if (!is_or_none(claims, PyCallable_Check(claims), "a function")) {
        return NULL;
    }
    self = (Composer *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (self == NULL) {
        return NULL;
    }
    Py_INCREF(members);
    self->members = members;
    Py_INCREF(items);
    self->items = items;
    self->claims = or_null(claims);
    self->shares = PyDict_New();
    self->absent = PyDict_New();
    self->judged = PyDict_New();
    self->groups = PyMem_Calloc(1, sizeof(int));
    self->needed = PyMem_Calloc(1, 1);
    if (self->shares == NULL || self->absent == NULL || self->judged == NULL || self->groups == NULL ||
        self->needed == NULL || whole_take(&self->whole, said) < 0) {
        if (!PyErr_Occurred()) {
            PyErr_NoMemory();
        }
        Py_DECREF(OBJECT(self));
        return NULL;
    }
    return OBJECT(self);
}
