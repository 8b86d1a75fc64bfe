/* The compiled leaf of reading by layout: the walk through a trie of segments, and the building of the values between
 * them. It does what plain.py and plain_composer.py do, which stay the measure of it; the laws hold both against each
 * other. One unit: the headers are its chapters, in this order.
 *
 * What it decides by itself are closed classes of ASCII text: ids and remarks, full dates and moments. For every other
 * text it asks the Python function that the plain way asks.
 *
 * Memory: no Python code runs during a walk, so its nodes are borrowed. During building Python code does run (checks,
 * functions for rare texts); by then shares, atoms and body are held, shares and recipes never change, and a span is a
 * piece of the body. Every place is checked against the number of slots of a share when that is made, and that number
 * when it is used.
 */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <structmember.h>
#include <string.h>

#define OBJECT(thing) ((PyObject *)(thing))

/* What Python code and this file must agree on; compiled.py passes an older or newer one by. */
#define REVISION 3
#define MOST_REMEMBERED 512
#define MOST_JUDGED 4096
#define MOST_DEPTH 200

#include "spans.h"
#include "text.h"
#include "model.h"
#include "recipe.h"
#include "recipe_type.h"
#include "share.h"
#include "record.h"
#include "node.h"
#include "atom.h"
#include "compose.h"
#include "composer.h"

/* ---- the module ---- */

static PyMethodDef node_methods[] = {
    {"fork", (PyCFunction)node_fork, METH_O, NULL},
    {"put_fork", (PyCFunction)node_put_fork, METH_VARARGS, NULL},
    {"follow", (PyCFunction)node_follow, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef node_members[] = {
    {"segment", T_OBJECT_EX, offsetof(Node, segment), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef node_getset[] = {
    {"after_slot", (getter)node_get_after_slot, (setter)node_set_after_slot, NULL, NULL},
    {"end", (getter)node_get_end, (setter)node_set_end, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot node_slots[] = {
    {Py_tp_new, node_new},         {Py_tp_dealloc, node_dealloc}, {Py_tp_traverse, node_traverse},
    {Py_tp_clear, node_clear},     {Py_tp_methods, node_methods}, {Py_tp_members, node_members},
    {Py_tp_getset, node_getset},   {0, NULL},
};

static PyType_Slot share_slots[] = {
    {Py_tp_dealloc, share_dealloc},
    {Py_tp_traverse, share_traverse},
    {0, NULL},
};

static PyMemberDef atom_members[] = {
    {"slots", T_PYSSIZET, offsetof(Atom, slots), READONLY, NULL},
    {"in_extension", T_INT, offsetof(Atom, in_extension), READONLY, NULL},
    {"rule", T_PYSSIZET, offsetof(Atom, rule), READONLY, NULL},
    {"claimed", T_OBJECT, offsetof(Atom, claimed), READONLY, NULL},
    {"facts", T_OBJECT, offsetof(Atom, facts), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot atom_slots[] = {
    {Py_tp_new, atom_new},     {Py_tp_dealloc, atom_dealloc}, {Py_tp_traverse, atom_traverse},
    {Py_tp_clear, atom_clear}, {Py_tp_members, atom_members}, {0, NULL},
};

static PyMethodDef composer_methods[] = {
    {"record", (PyCFunction)composer_record, METH_VARARGS, NULL},
    {"know", (PyCFunction)composer_know, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot composer_slots[] = {
    {Py_tp_new, composer_new},     {Py_tp_dealloc, composer_dealloc},  {Py_tp_traverse, composer_traverse},
    {Py_tp_clear, composer_clear}, {Py_tp_methods, composer_methods}, {0, NULL},
};

static PyType_Slot recipe_slots[] = {
    {Py_tp_dealloc, recipe_dealloc},
    {Py_tp_traverse, recipe_traverse},
    {0, NULL},
};

#define CLOSED (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE)
static PyType_Spec node_spec = {"fhirbridge.layout._leaf.Node", sizeof(Node), 0, CLOSED, node_slots};
static PyType_Spec share_spec = {
    "fhirbridge.layout._leaf.Share", sizeof(Share), 0, CLOSED | Py_TPFLAGS_DISALLOW_INSTANTIATION, share_slots};
static PyType_Spec atom_spec = {"fhirbridge.layout._leaf.Atom", sizeof(Atom), 0, CLOSED, atom_slots};
static PyType_Spec composer_spec = {"fhirbridge.layout._leaf.Composer", sizeof(Composer), 0, CLOSED, composer_slots};
static PyType_Spec recipe_spec = {
    "fhirbridge.layout._leaf.Recipe", sizeof(Recipe), 0, CLOSED | Py_TPFLAGS_DISALLOW_INSTANTIATION, recipe_slots};

/* know(slots): the descriptors of the four slots of a model, as filler in records/base.py sets them. */
static PyObject *
leaf_know(PyObject *module, PyObject *args)
{
    PyObject *given[4];
    int index;
    if (!PyArg_ParseTuple(args, "OOOO:know", &given[0], &given[1], &given[2], &given[3])) {
        return NULL;
    }
    for (index = 0; index < 4; index++) {
        if (PyType_GetSlot(Py_TYPE(given[index]), Py_tp_descr_set) == NULL) {
            PyErr_SetString(PyExc_TypeError, "a slot is wanted");
            return NULL;
        }
    }
    for (index = 0; index < 4; index++) {
        PyObject *before = slots[index];
        Py_INCREF(given[index]);
        slots[index] = given[index];
        set_slot[index] = PyType_GetSlot(Py_TYPE(given[index]), Py_tp_descr_set);
        Py_XDECREF(before);
    }
    Py_RETURN_NONE;
}

/* is_plain(rule, limit, text): for the tests of the closed classes. */
static PyObject *
leaf_is_plain(PyObject *module, PyObject *args)
{
    int rule;
    Py_ssize_t limit, length;
    const char *text;
    if (!PyArg_ParseTuple(args, "iny#:is_plain", &rule, &limit, &text, &length)) {
        return NULL;
    }
    return PyBool_FromLong(is_plain(rule, limit, text, length));
}

static PyMethodDef leaf_methods[] = {
    {"text", leaf_text, METH_VARARGS, NULL},   {"model", leaf_model, METH_VARARGS, NULL},
    {"items", leaf_items, METH_VARARGS, NULL}, {"share", leaf_share, METH_VARARGS, NULL},
    {"know", leaf_know, METH_VARARGS, NULL},   {"is_plain", leaf_is_plain, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef leaf_module = {PyModuleDef_HEAD_INIT, "_leaf", NULL, -1, leaf_methods, NULL, NULL, NULL, NULL};

static int
add_type(PyObject *module, PyTypeObject **place, PyType_Spec *spec, const char *name)
{
    PyObject *type = PyType_FromSpec(spec);
    if (type == NULL) {
        return -1;
    }
    *place = (PyTypeObject *)type;
    return PyModule_AddObjectRef(module, name, type);
}

PyMODINIT_FUNC
PyInit__leaf(void)
{
    PyObject *module = PyModule_Create(&leaf_module);
    if (module == NULL) {
        return NULL;
    }
    new_object = (newfunc)PyType_GetSlot(&PyBaseObject_Type, Py_tp_new);
    new_text = (newfunc)PyType_GetSlot(&PyUnicode_Type, Py_tp_new);
    no_arguments = PyTuple_New(0);
    if (no_arguments == NULL || add_type(module, &NodeType, &node_spec, "Node") < 0 ||
        add_type(module, &RecipeType, &recipe_spec, "Recipe") < 0 ||
        add_type(module, &ShareType, &share_spec, "Share") < 0 ||
        add_type(module, &AtomType, &atom_spec, "Atom") < 0 ||
        add_type(module, &ComposerType, &composer_spec, "Composer") < 0 ||
        PyModule_AddIntConstant(module, "REVISION", REVISION) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
