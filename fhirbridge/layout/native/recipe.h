/* Recipe: how one value is made of the texts in the slots. */

enum { TEXT, MODEL, TUPLE };

typedef struct Recipe {
    PyObject_HEAD
    int op, rule, depth;
    Py_ssize_t place;  /* of the one text that varies, or -1 */
    Py_ssize_t places; /* one more than the highest place */
    Py_ssize_t limit, count;
    PyObject *ask;      /* TEXT: the function that makes a value of bytes. MODEL: makes it of the values, or NULL */
    PyObject *type;     /* TEXT: the str class of a time, or NULL. MODEL: the model */
    PyObject *cache;    /* what was made of one varying text, or NULL */
    PyObject *template; /* MODEL: a dict, TUPLE: a tuple */
    PyObject *given, *checks;
    PyObject **keys;     /* MODEL: the names of the parts */
    Py_ssize_t *indices; /* TUPLE: the positions of the parts */
    struct Recipe **parts;
} Recipe;

static PyTypeObject *RecipeType;

/* Where the slots of one group of atoms are among all slots of a body. */
typedef struct {
    const Span *spans;
    const Py_ssize_t *places; /* NULL: a place is its own number */
} Frame;

static const Span *
span_at(const Frame *frame, Py_ssize_t place)
{
    return &frame->spans[frame->places == NULL ? place : frame->places[place]];
}

static PyObject *build(Recipe *recipe, const Frame *frame);

static PyObject *
asked(PyObject *ask, const Span *span)
{
    PyObject *text = PyBytes_FromStringAndSize(span->text, span->length), *made;
    if (text == NULL) {
        return NULL;
    }
    made = PyObject_CallFunctionObjArgs(ask, text, NULL);
    Py_DECREF(text);
    return made;
}

static PyObject *
built_text(Recipe *recipe, const Span *span)
{
    PyObject *text, *arguments, *made;
    if (!is_plain(recipe->rule, recipe->limit, span->text, span->length)) {
        return asked(recipe->ask, span);
    }
    text = PyUnicode_FromStringAndSize(span->text, span->length);
    if (text == NULL || recipe->type == NULL) {
        return text;
    }
    arguments = PyTuple_New(1);
    if (arguments == NULL) {
        Py_DECREF(text);
        return NULL;
    }
    PyTuple_SetItem(arguments, 0, text);
    made = new_text((PyTypeObject *)recipe->type, arguments, NULL);
    Py_DECREF(arguments);
    return made;
}

static int
passes(PyObject *checks, PyObject *made)
{
    Py_ssize_t index, count = checks == NULL ? 0 : PyTuple_Size(checks);
    for (index = 0; index < count; index++) {
        PyObject *result = PyObject_CallFunctionObjArgs(PyTuple_GetItem(checks, index), made, NULL);
        if (result == NULL) {
            return 0;
        }
        Py_DECREF(result);
    }
    return 1;
}

/* A model of values. Takes the reference to them. */
static PyObject *
finished(PyObject *ask, PyObject *type, PyObject *given, PyObject *checks, PyObject *values)
{
    PyObject *made =
        ask != NULL ? PyObject_CallFunctionObjArgs(ask, values, NULL) : filled(type, values, given);
    Py_DECREF(values);
    if (made != NULL && ask == NULL && !passes(checks, made)) {
        Py_CLEAR(made);
    }
    return made;
}

static PyObject *
built_model(Recipe *recipe, const Frame *frame)
{
    PyObject *values = PyDict_Copy(recipe->template);
    Py_ssize_t index;
    if (values == NULL) {
        return NULL;
    }
    for (index = 0; index < recipe->count; index++) {
        PyObject *part = build(recipe->parts[index], frame);
        if (part == NULL || PyDict_SetItem(values, recipe->keys[index], part) < 0) {
            Py_XDECREF(part);
            Py_DECREF(values);
            return NULL;
        }
        Py_DECREF(part);
    }
    return finished(recipe->ask, recipe->type, recipe->given, recipe->checks, values);
}

static PyObject *
built_tuple(Recipe *recipe, const Frame *frame)
{
    Py_ssize_t index, size = PyTuple_Size(recipe->template), next = 0;
    PyObject *made = PyTuple_New(size);
    if (made == NULL) {
        return NULL;
    }
    for (index = 0; index < size; index++) {
        PyObject *item;
        /* The positions ascend. */
        if (next < recipe->count && recipe->indices[next] == index) {
            item = build(recipe->parts[next++], frame);
            if (item == NULL) {
                Py_DECREF(made);
                return NULL;
            }
        }
        else {
            item = PyTuple_GetItem(recipe->template, index);
            Py_INCREF(item);
        }
        PyTuple_SetItem(made, index, item);
    }
    return made;
}

static PyObject *
built_anew(Recipe *recipe, const Frame *frame)
{
    switch (recipe->op) {
    case TEXT:
        return built_text(recipe, span_at(frame, recipe->place));
    case MODEL:
        return built_model(recipe, frame);
    default:
        return built_tuple(recipe, frame);
    }
}

static PyObject *
build(Recipe *recipe, const Frame *frame)
{
    PyObject *text, *made;
    const Span *span;
    if (recipe->cache == NULL) {
        return built_anew(recipe, frame);
    }
    span = span_at(frame, recipe->place);
    text = PyBytes_FromStringAndSize(span->text, span->length);
    if (text == NULL) {
        return NULL;
    }
    made = PyDict_GetItemWithError(recipe->cache, text);
    if (made != NULL) {
        Py_INCREF(made);
    }
    else if (!PyErr_Occurred() && (made = built_anew(recipe, frame)) != NULL) {
        if (PyDict_Size(recipe->cache) >= MOST_REMEMBERED) {
            PyDict_Clear(recipe->cache);
        }
        if (PyDict_SetItem(recipe->cache, text, made) < 0) {
            Py_CLEAR(made);
        }
    }
    Py_DECREF(text);
    return made;
}
