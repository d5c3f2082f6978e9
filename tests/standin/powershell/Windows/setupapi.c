/* Copyright (c) 2026 postern.mail_gateway contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * setupapi.dll and newdev.dll of the stand-in, as far as a root device is installed with them: a device is made, gets its
 * hardware id, is registered, and then the driver is installed for it. Each registered loopback device becomes an adapter.
 * Texts may be UTF-16 or octets: only letters are looked at.
 */

typedef unsigned long size_t;
void *calloc(size_t, size_t);
void free(void *);
int system(const char *);
int *__errno_location(void);

#define LOOPBACK "MSLOOP"
#define ERROR_INVALID_DATA 13
#define ERROR_INVALID_PARAMETER 87
#define ERROR_NO_SUCH_DEVINST (int)0xE000020B
#define SPDRP_HARDWAREID 1
#define DIF_REMOVE 0x05
#define DIF_REGISTERDEVICE 0x19

struct devices { int made, loopback; };
static int registered;

static int fail(int code) { *__errno_location() = code; return 0; }

/* Whether a text holds another, in any case and with or without zeros between the letters. */
static int holds(const char *text, const char *wanted, int size, int step)
{
    int i, j;
    for (i = 0; text && i < size; i += step) {
        for (j = 0; wanted[j] && i + j * step < size && (text[i + j * step] & ~32) == (wanted[j] & ~32); j++);
        if (!wanted[j]) return 1;
        if (size == 520 && !text[i]) return 0;
    }
    return 0;
}

static int says(const char *text, const char *wanted, int size)
{
    return text && (text[1] ? holds(text, wanted, size, 1) : holds(text, wanted, size, 2));
}

void *SetupDiCreateDeviceInfoList(const void *class, void *window) { return calloc(1, sizeof(struct devices)); }
int SetupDiDestroyDeviceInfoList(struct devices *set) { free(set); return 1; }

int SetupDiCreateDeviceInfo(struct devices *set, const void *name, const void *class, const void *text, void *window, int flags, void *data)
{
    if (!set || !name) return fail(ERROR_INVALID_PARAMETER);
    set->made = 1;
    return 1;
}
int SetupDiCreateDeviceInfoA(struct devices *s, const void *n, const void *c, const void *t, void *w, int f, void *d) { return SetupDiCreateDeviceInfo(s, n, c, t, w, f, d); }
int SetupDiCreateDeviceInfoW(struct devices *s, const void *n, const void *c, const void *t, void *w, int f, void *d) { return SetupDiCreateDeviceInfo(s, n, c, t, w, f, d); }

int SetupDiSetDeviceRegistryProperty(struct devices *set, void *data, int property, const char *value, int size)
{
    if (!set || !set->made || !value) return fail(ERROR_INVALID_PARAMETER);
    if (property == SPDRP_HARDWAREID) set->loopback = says(value, LOOPBACK, size);
    return 1;
}
int SetupDiSetDeviceRegistryPropertyA(struct devices *s, void *d, int p, const char *v, int z) { return SetupDiSetDeviceRegistryProperty(s, d, p, v, z); }
int SetupDiSetDeviceRegistryPropertyW(struct devices *s, void *d, int p, const char *v, int z) { return SetupDiSetDeviceRegistryProperty(s, d, p, v, z); }

int SetupDiCallClassInstaller(int function, struct devices *set, void *data)
{
    if (!set || !set->made) return fail(ERROR_NO_SUCH_DEVINST);
    if (function == DIF_REGISTERDEVICE) {
        if (!set->loopback) return fail(ERROR_INVALID_DATA);
        registered++;
    }
    if (function == DIF_REMOVE && registered) registered--;
    return 1;
}

int UpdateDriverForPlugAndPlayDevices(void *window, const char *id, const char *file, int flags, int *reboot)
{
    if (!says(id, LOOPBACK, 40) || !says(file, "NETLOOP.INF", 520)) return fail(ERROR_INVALID_PARAMETER);
    if (!registered) return fail(ERROR_NO_SUCH_DEVINST);
    if (reboot) *reboot = 0;
    for (; registered; registered--)
        if (system("PYTHONPATH=/opt PYTHONDONTWRITEBYTECODE=1 python3 -m standin adapter")) return fail(ERROR_INVALID_DATA);
    return 1;
}
int UpdateDriverForPlugAndPlayDevicesA(void *w, const char *i, const char *f, int g, int *r) { return UpdateDriverForPlugAndPlayDevices(w, i, f, g, r); }
int UpdateDriverForPlugAndPlayDevicesW(void *w, const char *i, const char *f, int g, int *r) { return UpdateDriverForPlugAndPlayDevices(w, i, f, g, r); }
