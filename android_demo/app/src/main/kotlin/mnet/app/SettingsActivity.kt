package mnet.app

import android.app.Activity
import android.os.Bundle
import android.view.View
import android.widget.EditText
import android.widget.TextView
import mnet.core.CloudClient
import mnet.core.HttpClient

/** Which server this phone follows, and the key to enrol with. */
class SettingsActivity : Activity() {
    private val demo get() = application as DemoApplication

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        setContentView(R.layout.settings)
        val server = findViewById(R.id.server) as EditText
        val key = findViewById(R.id.enrolment_key) as EditText
        // After a turn of the phone, the fields restore themselves.
        if (state == null) {
            server.setText(demo.settings.getString(DemoApplication.SERVER, ""))
            key.setText(demo.settings.getString(DemoApplication.ENROLMENT_KEY, ""))
        }
        (findViewById(R.id.enrolment_help) as TextView).text =
            getString(if (demo.recommender?.enrolled == true) R.string.enrolled else R.string.enrolment_help)
        (findViewById(R.id.save) as View).setOnClickListener { save(server, key) }
    }

    private fun save(serverField: EditText, keyField: EditText) {
        val server = serverField.text.toString().trim()
        val enrolmentKey = keyField.text.toString().trim()
        try {
            if (server.isNotEmpty()) CloudClient(server).close()
        } catch (error: IllegalArgumentException) {
            serverField.error = getString(R.string.not_a_url)
            return
        }
        if (!HttpClient.isKey(enrolmentKey)) {
            keyField.error = getString(R.string.not_a_key)
            return
        }
        demo.useServer(server, enrolmentKey)
        finish()
    }
}
