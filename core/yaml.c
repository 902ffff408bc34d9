/* yaml.c - see yaml.h; the wrapper of libyaml. */
#include "core/yaml.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "core/alloc.h"
#include "core/version.h"

enum { MAX_BYTES = 64 << 10, MAX_DEPTH = 32 };

/* Nodes own their texts and hang in one list, so that whatever was read so far can be freed. */
typedef struct node {
    prle_yaml_node view;
    char *key, *text;
    struct node *last;    /* last child */
    struct node *created; /* the node made before this one */
} node;

struct prle_yaml {
    node *root;
    node *newest;
};

typedef struct yaml_reader {
    const char *name;
    yaml_parser_t parser;
    prle_yaml *yaml;
    node *open[MAX_DEPTH]; /* lists and maps not ended yet, outermost first */
    int depth;
    char *key; /* read, its value not yet */
} yaml_reader;

static int line_of(const yaml_mark_t *mark) { return (int)mark->line + 1; }

static prle_status scalar_copy(const yaml_reader *reader, const yaml_event_t *event, char **out)
{
    const char *text = (const char *)event->data.scalar.value;

    PRLE_CHECK(strlen(text) == event->data.scalar.length, PRLE_EFORMAT, "%s:%d: text holds a zero byte", reader->name,
               line_of(&event->start_mark));
    return prle_strdup(text, out);
}

static bool is_null(const yaml_event_t *event)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};

    if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp((const char *)event->data.scalar.value, words[i]) == 0)
            return true;
    return false;
}

/* Puts a new node under the innermost open one; it takes the pending key. */
static prle_status node_add(yaml_reader *reader, prle_yaml_kind kind, const yaml_event_t *event, node **out)
{
    node *parent = reader->depth > 0 ? reader->open[reader->depth - 1] : NULL, *fresh = NULL;

    PRLE_TRY(PRLE_NEW(fresh, 1));
    fresh->created = reader->yaml->newest;
    reader->yaml->newest = fresh;
    fresh->key = reader->key;
    reader->key = NULL;
    fresh->view = (prle_yaml_node){.kind = kind, .line = line_of(&event->start_mark), .key = fresh->key, .text = ""};
    if (parent == NULL) {
        reader->yaml->root = fresh;
    } else {
        if (parent->last == NULL)
            parent->view.child = &fresh->view;
        else
            parent->last->view.next = &fresh->view;
        parent->last = fresh;
        parent->view.n++;
    }
    *out = fresh;
    return PRLE_OK;
}

static bool expects_key(const yaml_reader *reader)
{
    return reader->depth > 0 && reader->open[reader->depth - 1]->view.kind == PRLE_YAML_MAP && reader->key == NULL;
}

static prle_status key_take(yaml_reader *reader, const yaml_event_t *event)
{
    const int line = line_of(&event->start_mark);

    PRLE_CHECK(event->type == YAML_SCALAR_EVENT, PRLE_EFORMAT, "%s:%d: a key must be a word", reader->name, line);
    PRLE_TRY(scalar_copy(reader, event, &reader->key));
    const prle_yaml_node *twin = prle_yaml_get(&reader->open[reader->depth - 1]->view, reader->key);
    PRLE_CHECK(twin == NULL, PRLE_EFORMAT, "%s:%d: \"%s\" stands here and in line %d", reader->name, line, reader->key,
               twin->line);
    return PRLE_OK;
}

static prle_status value_take(yaml_reader *reader, const yaml_event_t *event)
{
    node *fresh = NULL;

    if (event->type == YAML_SCALAR_EVENT) {
        PRLE_TRY(node_add(reader, is_null(event) ? PRLE_YAML_NULL : PRLE_YAML_SCALAR, event, &fresh));
        PRLE_TRY(scalar_copy(reader, event, &fresh->text));
        if (fresh->view.kind == PRLE_YAML_SCALAR)
            fresh->view.text = fresh->text;
        return PRLE_OK;
    }
    PRLE_CHECK(reader->depth < MAX_DEPTH, PRLE_EFORMAT, "%s:%d: nested deeper than %d levels", reader->name,
               line_of(&event->start_mark), MAX_DEPTH);
    PRLE_TRY(node_add(reader, event->type == YAML_MAPPING_START_EVENT ? PRLE_YAML_MAP : PRLE_YAML_LIST, event, &fresh));
    reader->open[reader->depth++] = fresh;
    return PRLE_OK;
}

static prle_status event_take(yaml_reader *reader, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return PRLE_FAIL(PRLE_EFORMAT, "%s:%d: aliases (*name) are not accepted", reader->name, line_of(&event->start_mark));
    case YAML_DOCUMENT_START_EVENT:
        PRLE_CHECK(reader->yaml->root == NULL, PRLE_EFORMAT, "%s:%d: a second document begins; one is accepted", reader->name,
                   line_of(&event->start_mark));
        return PRLE_OK;
    case YAML_SCALAR_EVENT:
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT: return expects_key(reader) ? key_take(reader, event) : value_take(reader, event);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: reader->depth--; return PRLE_OK;
    default: return PRLE_OK; /* ends of document and stream */
    }
}

static prle_status events_read(yaml_reader *reader)
{
    for (bool more = true; more;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&reader->parser, &event)) {
            const yaml_parser_t *p = &reader->parser;
            PRLE_CHECK(p->error != YAML_MEMORY_ERROR, PRLE_ENOMEM, "%s: out of memory", reader->name);
            return PRLE_FAIL(PRLE_EFORMAT, "%s:%d: %s%s%s", reader->name, line_of(&p->problem_mark),
                             p->problem != NULL ? p->problem : "not YAML", p->context != NULL ? " " : "",
                             p->context != NULL ? p->context : "");
        }
        const prle_status st = event_take(reader, &event);
        more = event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
        PRLE_TRY(st);
    }
    return PRLE_OK;
}

prle_status prle_yaml_parse(const char *name, const char *text, size_t n_bytes, prle_yaml **out)
{
    yaml_reader reader = {.name = name};
    prle_status st = PRLE_OK;

    PRLE_CHECK(yaml_parser_initialize(&reader.parser), PRLE_ENOMEM, "%s: out of memory", name);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, n_bytes);
    PRLE_TRY_OUT(PRLE_NEW(reader.yaml, 1));
    PRLE_TRY_OUT(events_read(&reader));
    if (reader.yaml->root == NULL) {
        node *empty = NULL;
        PRLE_TRY_OUT(node_add(&reader, PRLE_YAML_NULL, &(yaml_event_t){0}, &empty));
    }
    *out = reader.yaml;
    reader.yaml = NULL;
out:
    prle_free(reader.key);
    prle_yaml_destroy(reader.yaml);
    yaml_parser_delete(&reader.parser);
    return st;
}

prle_status prle_yaml_load(const char *path, prle_yaml **out)
{
    prle_status st = PRLE_OK;
    char *text = NULL;
    size_t n = 0;

    FILE *file = fopen(path, "rb");
    PRLE_CHECK(file != NULL, PRLE_EIO, "%s: cannot open: %s", path, strerror(errno));
    PRLE_TRY_OUT(PRLE_NEW(text, MAX_BYTES + 1));
    n = fread(text, 1, MAX_BYTES + 1, file);
    PRLE_CHECK_OUT(!ferror(file), PRLE_EIO, "%s: cannot read: %s", path, strerror(errno));
    PRLE_CHECK_OUT(n <= MAX_BYTES, PRLE_EFORMAT, "%s: larger than %d bytes, is it a YAML file?", path, MAX_BYTES);
    PRLE_TRY_OUT(prle_yaml_parse(path, text, n, out));
out:
    prle_free(text);
    fclose(file);
    return st;
}

const prle_yaml_node *prle_yaml_root(const prle_yaml *yaml) { return &yaml->root->view; }

const prle_yaml_node *prle_yaml_get(const prle_yaml_node *map, const char *key)
{
    if (map->kind != PRLE_YAML_MAP)
        return NULL;
    for (const prle_yaml_node *entry = map->child; entry != NULL; entry = entry->next)
        if (strcmp(entry->key, key) == 0)
            return entry;
    return NULL;
}

void prle_yaml_destroy(prle_yaml *yaml)
{
    if (yaml == NULL)
        return;
    for (node *at = yaml->newest; at != NULL;) {
        node *before = at->created;
        prle_free(at->key);
        prle_free(at->text);
        prle_free(at);
        at = before;
    }
    prle_free(yaml);
}

const char *prle_version_yaml(void) { return yaml_get_version_string(); }
